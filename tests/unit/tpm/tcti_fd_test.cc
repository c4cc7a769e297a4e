// Goal: our transport takes whole responses only, in bounded time, and is dead after any failure.
// Method: a socket pair; the test plays the TPM, byte by byte where that matters.
#include "tpm/tcti_fd.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <tss2/tss2_common.h>
#include <unistd.h>

#include <cerrno>

namespace stele::tpm {
namespace {

Bytes Hex(const char* text) { return ParseHex(text).value(); }

class Transport : public testing::Test {
 protected:
  void SetUp() override {
    int pair[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    peer_.reset(pair[1]);
    tcti_ = std::make_unique<FdTcti>(UniqueFd(pair[0]), 200);
  }
  TSS2_RC Send() {
    return tcti_->common.v1.transmit(tcti_->context(), command_.size(),
                              reinterpret_cast<const std::uint8_t*>(command_.data()));
  }
  TSS2_RC Get(std::int32_t timeout) {
    size_ = buffer_.size();
    return tcti_->common.v1.receive(tcti_->context(), &size_, buffer_.data(), timeout);
  }
  void Answer(const Bytes& bytes) {
    ASSERT_EQ(::write(peer_.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  void ExpectDead() {
    EXPECT_TRUE(tcti_->dead);
    EXPECT_EQ(Send(), TSS2_TCTI_RC_NO_CONNECTION);
    EXPECT_EQ(Get(0), TSS2_TCTI_RC_NO_CONNECTION);
  }

  const Bytes command_ = Hex("80010000000c000001440000");
  const Bytes answer_ = Hex("80010000000a00000000");
  UniqueFd peer_;
  std::unique_ptr<FdTcti> tcti_;
  std::array<std::uint8_t, kResponseBytesMax> buffer_{};
  std::size_t size_ = 0;
};

TEST_F(Transport, CarriesCommandsAndAnswersInTurn) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(Send(), TSS2_RC_SUCCESS);
    EXPECT_EQ(Send(), TSS2_TCTI_RC_BAD_SEQUENCE);
    Bytes seen(command_.size());
    ASSERT_EQ(::read(peer_.get(), seen.data(), seen.size()), static_cast<ssize_t>(seen.size()));
    EXPECT_EQ(seen, command_);
    Answer(answer_);
    ASSERT_EQ(Get(TSS2_TCTI_TIMEOUT_BLOCK), TSS2_RC_SUCCESS);
    EXPECT_EQ(size_, answer_.size());
    EXPECT_EQ(Get(0), TSS2_TCTI_RC_BAD_SEQUENCE);
  }
}

TEST_F(Transport, AnAnswerInPiecesIsPutTogether) {
  ASSERT_EQ(Send(), TSS2_RC_SUCCESS);
  for (std::size_t i = 0; i < answer_.size(); ++i) {
    EXPECT_EQ(Get(1), TSS2_TCTI_RC_TRY_AGAIN);
    Answer(Bytes{answer_[i]});
  }
  std::size_t needed = 0;
  EXPECT_EQ(tcti_->common.v1.receive(tcti_->context(), &needed, nullptr, 100), TSS2_RC_SUCCESS);
  EXPECT_EQ(needed, answer_.size());
  needed = 3;
  EXPECT_EQ(tcti_->common.v1.receive(tcti_->context(), &needed, buffer_.data(), 100), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
  EXPECT_EQ(Get(100), TSS2_RC_SUCCESS);
  EXPECT_FALSE(tcti_->dead);
}

TEST_F(Transport, SilenceEndsTheConnectionAfterTheTimeout) {
  ASSERT_EQ(Send(), TSS2_RC_SUCCESS);
  EXPECT_EQ(Get(TSS2_TCTI_TIMEOUT_BLOCK), TSS2_TCTI_RC_IO_ERROR);
  EXPECT_EQ(tcti_->error, ETIMEDOUT);
  ExpectDead();
}

TEST_F(Transport, EndOfFileInAnAnswerEndsTheConnection) {
  ASSERT_EQ(Send(), TSS2_RC_SUCCESS);
  Answer(Bytes(answer_.begin(), answer_.begin() + 7));
  peer_.reset();
  EXPECT_EQ(Get(TSS2_TCTI_TIMEOUT_BLOCK), TSS2_TCTI_RC_IO_ERROR);
  EXPECT_EQ(tcti_->error, ECONNRESET);
  ExpectDead();
}

TEST_F(Transport, APeerThatIsGoneIsNoticedBeforeSending) {
  peer_.reset();
  EXPECT_EQ(Send(), TSS2_TCTI_RC_IO_ERROR);
  EXPECT_EQ(tcti_->error, ECONNRESET);
  ExpectDead();
}

TEST_F(Transport, ALateAnswerIsNeverTakenForTheNextOne) {
  Answer(answer_);  // nobody asked
  EXPECT_EQ(Send(), TSS2_TCTI_RC_IO_ERROR);
  EXPECT_EQ(tcti_->error, EPROTO);
  ExpectDead();
}

TEST_F(Transport, ImpossibleSizesInTheHeaderEndTheConnection) {
  for (const char* header : {"80010000000900000000", "80010000100100000000", "8001ffffffff00000000", "80010000000a0000000000"}) {
    SetUp();
    ASSERT_EQ(Send(), TSS2_RC_SUCCESS);
    Answer(Hex(header));
    EXPECT_EQ(Get(TSS2_TCTI_TIMEOUT_BLOCK), TSS2_TCTI_RC_IO_ERROR) << header;
    EXPECT_EQ(tcti_->error, EPROTO);
    ExpectDead();
  }
}

TEST_F(Transport, TheLargestAnswerFits) {
  ASSERT_EQ(Send(), TSS2_RC_SUCCESS);
  Bytes largest = Hex("80010000100000000000");
  largest.resize(kResponseBytesMax, std::byte{0x5a});
  Answer(largest);
  ASSERT_EQ(Get(TSS2_TCTI_TIMEOUT_BLOCK), TSS2_RC_SUCCESS);
  EXPECT_EQ(size_, kResponseBytesMax);
}

TEST_F(Transport, RefusesWhatItCannotDo) {
  EXPECT_EQ(tcti_->common.v1.cancel(tcti_->context()), TSS2_TCTI_RC_NOT_SUPPORTED);
  EXPECT_EQ(tcti_->common.v1.setLocality(tcti_->context(), 0), TSS2_RC_SUCCESS);
  EXPECT_EQ(tcti_->common.v1.setLocality(tcti_->context(), 3), TSS2_TCTI_RC_NOT_SUPPORTED);
  EXPECT_EQ(Get(-2), TSS2_TCTI_RC_BAD_VALUE);
  const Bytes lying = Hex("80010000000d000001440000");
  EXPECT_EQ(tcti_->common.v1.transmit(tcti_->context(), lying.size(), reinterpret_cast<const std::uint8_t*>(lying.data())),
            TSS2_TCTI_RC_BAD_VALUE);
  FdTcti closed{UniqueFd(), 100};
  EXPECT_TRUE(closed.dead);
  EXPECT_EQ(Transact(closed, command_).error().code, Code::kIo);
  tcti_->common.v1.finalize(tcti_->context());
  ExpectDead();
}

}  // namespace
}  // namespace stele::tpm
