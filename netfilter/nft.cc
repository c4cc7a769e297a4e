#include "netfilter/nft.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "appliance/base/fd.h"
#include "netfilter/transaction.h"

namespace stele::netfilter {
namespace {

constexpr const char* kTable = "table inet stele";
constexpr std::size_t kErrorBytes = 600;  // of nft's words: the first error, without the echo of a long line
constexpr std::size_t kDifferences = 16;

// libnftables ends the process when it finds no netlink, so somebody has to ask before. One question: which generation
// of rules is it?
Result<void> AskKernel() {
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket.valid())
    return Fail(Code::kUnavailable, "this kernel has no netfilter netlink: " + std::string(std::strerror(errno)));
  struct {
    nlmsghdr header;
    nfgenmsg body;
  } ask{};
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8U | NFT_MSG_GETGEN;
  ask.header.nlmsg_flags = NLM_F_REQUEST;
  if (::send(socket.get(), &ask, sizeof ask, 0) < 0) return FailErrno("ask for nf_tables");
  alignas(nlmsghdr) std::array<char, 4096> answer{};
  if (::recv(socket.get(), answer.data(), answer.size(), 0) < static_cast<ssize_t>(sizeof(nlmsghdr))) {
    return FailErrno("ask for nf_tables");
  }
  nlmsghdr header{};
  std::memcpy(&header, answer.data(), sizeof header);
  if (header.nlmsg_type != NLMSG_ERROR) return {};
  nlmsgerr error{};
  std::memcpy(&error, answer.data() + NLMSG_HDRLEN, sizeof error);
  if (error.error == -EPERM) return Fail(Code::kDenied, "reading nftables needs CAP_NET_ADMIN");
  if (error.error == 0) return {};
  return Fail(Code::kUnavailable, "this kernel has no nf_tables: " + std::string(std::strerror(-error.error)));
}

// "Could not process rule: Operation not supported": what the kernel lacks, without the lines that quote the input.
std::string FirstError(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  return std::string(line.substr(0, kErrorBytes));
}

}  // namespace

void Nft::Free::operator()(nft_ctx* context) const { nft_ctx_free(context); }

Result<Nft> Nft::Open() {
  STELE_TRY_VOID(AskKernel());
  std::unique_ptr<nft_ctx, Free> context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context) return Fail(Code::kUnavailable, "libnftables gives no context");
  nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_STATELESS);
  if (nft_ctx_buffer_output(context.get()) != 0 || nft_ctx_buffer_error(context.get()) != 0) {
    return Fail(Code::kUnavailable, "libnftables gives no buffers");
  }
  return Nft(std::move(context));
}

Result<std::string> Nft::Run(const std::string& commands) {
  const int status = nft_run_cmd_from_buffer(context_.get(), commands.c_str());
  const char* said = nft_ctx_get_output_buffer(context_.get());
  std::string output = said != nullptr ? said : "";
  const char* complained = nft_ctx_get_error_buffer(context_.get());
  if (status == 0) return output;
  return Fail(Code::kUnavailable, FirstError(complained != nullptr ? complained : "nft: no reason given"));
}

Result<std::string> Nft::List() {
  auto text = Run("list " + std::string(kTable) + "\n");
  if (text) return text;
  if (text.error().context.find("No such file or directory") != std::string::npos) {
    return Fail(Code::kNotFound, "there is no table inet stele");
  }
  return text;
}

Result<void> Nft::Apply(std::string_view text) {
  STELE_TRY(const Ruleset meant, ParseRuleset(text));
  const auto listing = List();
  if (!listing && listing.error().code != Code::kNotFound) return tl::unexpected(listing.error());
  const auto current = listing ? ParseRuleset(*listing) : tl::unexpected(listing.error());
  auto done = Run(current ? TransactionText(*current, meant) : ReplacementText(meant));
  if (!done && current) done = Run(ReplacementText(meant));  // somebody else's rules refer to a part of the old ones
  if (!done) return Fail(Code::kUnavailable, "the kernel keeps its old rules: " + done.error().context);
  STELE_TRY(const auto differences, DifferencesFrom(text));
  if (differences.empty()) return {};
  return Fail(Code::kCorrupt, "the kernel has other rules than it was given: " + differences.front());
}

Result<std::vector<std::string>> Nft::DifferencesFrom(std::string_view text) {
  STELE_TRY(const Ruleset meant, ParseRuleset(text));
  const auto listing = List();
  if (!listing && listing.error().code == Code::kNotFound) return std::vector<std::string>{listing.error().context};
  if (!listing) return tl::unexpected(listing.error());
  const auto found = ParseRuleset(*listing);
  if (!found) return std::vector<std::string>{"the table holds what Stele never writes: " + found.error().context};
  return DifferencesOf(meant, *found, kDifferences);
}

Result<std::vector<std::string>> Nft::ForeignTables() {
  STELE_TRY(const std::string text, Run("list tables\n"));
  std::vector<std::string> out;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = std::min(text.find('\n', from), text.size());
    const std::string line = text.substr(from, end - from);
    if (line.starts_with("table ") && line != kTable) out.push_back(line.substr(std::strlen("table ")));
    from = end + 1;
  }
  return out;
}

Result<DropCounts> Nft::CountDrops() {
  nft_ctx_output_set_flags(context_.get(), NFT_CTX_OUTPUT_TERSE);
  const auto listing = List();
  nft_ctx_output_set_flags(context_.get(), NFT_CTX_OUTPUT_STATELESS);
  if (!listing) return tl::unexpected(listing.error());
  return DropCountsOf(*listing);
}

Result<void> Nft::Remove() {
  STELE_TRY_VOID(Run(std::string(kTable) + "\ndelete " + kTable + "\n"));
  return {};
}

}  // namespace stele::netfilter
