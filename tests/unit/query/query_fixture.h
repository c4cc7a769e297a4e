// A small log in a temporary directory, written by the real sequencer and store, read by the real reader.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/ledger/sequencer.h"
#include "appliance/query/reads.h"
#include "appliance/store/file_device.h"
#include "appliance/store/store.h"

namespace stele::query {

// Time that a test moves.
class TestClock final : public Clock {
 public:
  std::int64_t WallNs() override { return wall_ns; }
  std::int64_t BoottimeNs() override { return boottime_ns; }
  std::int64_t wall_ns = 1'763'694'000'000'000'000;
  std::int64_t boottime_ns = 1'000'000'000;
};

class QueryLog {
 public:
  QueryLog() {
    std::string name = (std::filesystem::temp_directory_path() / "stele-query-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    std::filesystem::create_directory(store_dir());
    shelf_ = std::make_unique<store::FileShelf>(store_dir());
    auto tail = store::ReadTail(*shelf_);
    EXPECT_TRUE(tail.has_value());
    Hash session{};
    auto opened = store::Store::Open(*shelf_, clock, {limits::kMiB, ledger::Codec::kZstd}, *tail, LogId(), {session, session});
    EXPECT_TRUE(opened.has_value()) << opened.error().context;
    store_ = std::move(*opened);
    Add(record::Kind::kEpoch, R"({"type":"genesis"})");
    Add(record::Kind::kSource, R"({"source":1,"zone":"dmz","listener":"syslog-udp","transport":"udp","peer":"192.0.2.7","identity":""})", 1);
    Add(record::Kind::kSource, R"({"source":2,"zone":"lan","listener":"json","transport":"https","peer":"192.0.2.8","identity":"CN=shop"})", 2);
    Commit();
  }
  ~QueryLog() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  QueryLog(const QueryLog&) = delete;
  QueryLog& operator=(const QueryLog&) = delete;

  static Hash LogId() {
    Hash id;
    id.fill(std::byte{0x22});
    return id;
  }
  [[nodiscard]] std::filesystem::path store_dir() const { return directory_ / "store"; }
  [[nodiscard]] std::filesystem::path state_dir() const { return directory_; }

  // Waits for Commit(). Returns its sequence number.
  std::uint64_t Add(record::Kind kind, std::string_view payload, std::uint32_t source = 0) {
    record::Peer peer{};
    if (kind == record::Kind::kCheckpoint) landmarks_.checkpoint = sequencer_.size() + batch_.size();
    if (source != 0 && kind != record::Kind::kSource) {
      peer[10] = peer[11] = std::byte{0xff};
      peer[12] = std::byte{192};
      peer[14] = std::byte{2};
      peer[15] = static_cast<std::byte>(6 + source);
    }
    clock.wall_ns += 1'000'000'000;
    record::SaltKey key{};
    const auto position = static_cast<std::uint32_t>(batch_.size());
    const Hash commitment = record::CommitPayload(record::DeriveSalt(key, position), peer, AsBytes(payload));
    batch_.Add(kind, 0, source, clock.wall_ns, peer, commitment, AsBytes(payload));
    return sequencer_.size() + position;
  }
  std::uint64_t Syslog(std::string_view payload) { return Add(record::Kind::kSyslog, payload, 1); }
  std::uint64_t Json(std::string_view payload) { return Add(record::Kind::kJson, payload, 2); }
  void Commit() {
    if (batch_.empty()) return;
    batch_.salt_runs.push_back({0, static_cast<std::uint32_t>(batch_.size()), 0, {}});
    const auto sequenced = sequencer_.Sequence(std::exchange(batch_, {}));
    ASSERT_TRUE(store_->Commit(sequenced, landmarks_).has_value());
  }
  // Commits what waits, then a checkpoint over it. Returns its size.
  std::uint64_t Checkpoint() {
    Commit();
    const std::uint64_t size = sequencer_.size();
    const std::string root = HexOf(sequencer_.frontier().Root());
    Add(record::Kind::kCheckpoint,
        nlohmann::json{{"note", "test note\n"}, {"size", size}, {"root", root}, {"number", 1}, {"anchor", 0}}.dump());
    Commit();
    return size;
  }
  [[nodiscard]] std::uint64_t size() const { return sequencer_.size(); }

  Result<std::unique_ptr<Reads>> OpenReads() {
    STELE_TRY(auto reads, Reads::Open(std::make_unique<store::FileShelf>(store_dir()), clock, config));
    STELE_TRY_VOID(reads->Refresh(size()));
    return reads;
  }

  TestClock clock;
  ReadsConfig config{"test.invalid/log", "test+00000000+AAAA", R"({"ak_name":"00ff","software_tpm":true})"};

 private:
  std::filesystem::path directory_;
  std::unique_ptr<store::FileShelf> shelf_;
  std::unique_ptr<store::Store> store_;
  ledger::Sequencer sequencer_{LogId()};
  ledger::Batch batch_;
  ledger::Landmarks landmarks_;
};

}  // namespace stele::query
