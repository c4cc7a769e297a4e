// Segments as files of one directory: seg-00000000, seg-00000001, ... behind the Device and DeviceShelf seams.
//
// Durable-file rules: a new file is full-sized, its room taken by fallocate where the file system can (so that a disk filled by
// others does not stop a unit that was begun), written with zeros ahead of the data (fallocate alone doubles the time of a
// sync), synced, and its directory entry synced before the first block. Writes, and reads for recovery, go around the page cache.
#pragma once

#include <filesystem>

#include "appliance/base/fd.h"
#include "appliance/base/seams.h"
#include "appliance/store/spine_folder.h"

namespace stele::store {

class FileShelf final : public DeviceShelf {
 public:
  struct Options {
    bool immutable_when_sealed = false;  // chattr +i; needs CAP_LINUX_IMMUTABLE
    bool direct_reads = false;           // O_DIRECT where possible: recovery and verification want the medium
  };
  // Does not create the directory.
  explicit FileShelf(std::filesystem::path directory) : FileShelf(std::move(directory), Options{}) {}
  FileShelf(std::filesystem::path directory, Options options);

  Result<std::vector<std::uint32_t>> List() override;
  Result<std::unique_ptr<Device>> Open(std::uint32_t unit, bool writable) override;
  Result<std::unique_ptr<Device>> Create(std::uint32_t unit, std::uint64_t size_bytes) override;
  std::vector<std::uint32_t> Expired() override { return {spines_.units().begin(), spines_.units().end()}; }
  Result<Bytes> Spine(std::uint32_t unit) override { return spines_.Read(unit); }
  Result<void> KeepSpine(std::uint32_t unit, ByteView spine) override { return spines_.Write(unit, spine); }
  Result<void> Clear(std::uint32_t unit) override;  // removes the file

  [[nodiscard]] static std::string NameOf(std::uint32_t unit);

 private:
  std::filesystem::path directory_;
  Options options_;
  UniqueFd directory_fd_;
  SpineFolder spines_;
};

}  // namespace stele::store
