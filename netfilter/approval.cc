#include "netfilter/approval.h"

#include <sodium/crypto_sign_ed25519.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "appliance/base/text.h"

namespace stele::netfilter {
namespace {

constexpr std::string_view kFirstLine = "stele policy approval v1";
constexpr std::int64_t kNsPerSecond = 1'000'000'000;

const unsigned char* Raw(ByteView bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

// The next line of `rest`, which must begin with `word` and a space; what is behind it.
std::optional<std::string> TakeLine(std::string_view& rest, std::string_view word) {
  const std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  if (word.empty()) return std::string(line);
  if (!line.starts_with(word) || line.size() < word.size() + 2 || line[word.size()] != ' ') return std::nullopt;
  return std::string(line.substr(word.size() + 1));
}

std::string TimeText(std::int64_t wall_ns) {  // whole seconds
  std::string text = FormatTime(wall_ns / kNsPerSecond * kNsPerSecond);
  const std::size_t dot = text.find('.');
  return dot == std::string::npos ? text : text.substr(0, dot) + "Z";
}

Result<void> CheckOne(const Approval& approval, const ApprovalSubject& subject, const std::vector<Approver>& approvers,
                      std::int64_t now_ns, const Approver*& out) {
  const auto who = std::find_if(approvers.begin(), approvers.end(),
                                [&approval](const Approver& one) { return one.name == approval.approver; });
  if (who == approvers.end())
    return Fail(Code::kDenied, approval.approver + " is no approver of this appliance (policy.approvers)");
  if (crypto_sign_ed25519_verify_detached(Raw(approval.signature), Raw(AsBytes(approval.statement)),
                                          approval.statement.size(), Raw(who->public_key)) != 0) {
    return Fail(Code::kDenied, "the signature is not " + approval.approver + "'s");
  }
  if (approval.subject.log != subject.log) return Fail(Code::kDenied, "it is for another log");
  if (approval.subject.policy != subject.policy) return Fail(Code::kDenied, "it approves another policy");
  if (approval.subject.replaces != subject.replaces || approval.subject.entry != subject.entry)
    return Fail(Code::kDenied, "it was given when another change was in force: it is of no use any more");
  if (approval.expires_ns <= now_ns) return Fail(Code::kDenied, "it expired on " + TimeText(approval.expires_ns));
  out = &*who;
  return {};
}

}  // namespace

bool IsApproverName(std::string_view name) {
  return !name.empty() && name.size() <= limits::kApproverNameBytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
                  c == '_' || c == '@';
         });
}

std::string ApprovalStatement(const ApprovalSubject& subject, std::string_view approver, std::int64_t expires_ns) {
  std::string text(kFirstLine);
  text += "\nlog " + subject.log + "\npolicy " + subject.policy + "\nreplaces " + subject.replaces;
  text += "\nentry " + std::to_string(subject.entry) + "\napprover " + std::string(approver);
  return text + "\nexpires " + TimeText(expires_ns) + "\n";
}

std::string ApprovalText(std::string_view statement, ByteView signature) {
  return std::string(statement) + "\n" + Base64Of(signature) + "\n";
}

Result<Approval> ParseApproval(std::string_view text) {
  const auto wrong = [](const char* what) { return Fail(Code::kInvalid, std::string("no approval: ") + what); };
  if (text.size() > limits::kApprovalBytes) return wrong("it is too long");
  std::string_view rest = text;
  Approval approval;
  if (TakeLine(rest, "") != kFirstLine) return wrong("the first line is another");
  const auto log = TakeLine(rest, "log");
  const auto policy = TakeLine(rest, "policy");
  const auto replaces = TakeLine(rest, "replaces");
  const auto entry = TakeLine(rest, "entry");
  const auto approver = TakeLine(rest, "approver");
  const auto expires = TakeLine(rest, "expires");
  if (!log || !policy || !replaces || !entry || !approver || !expires) return wrong("a line is missing");
  for (const auto* digest : {&*log, &*policy, &*replaces}) {
    if (!ParseHash(*digest)) return wrong("a digest is not 64 hexadecimal digits");
  }
  approval.subject = {*log, *policy, *replaces, 0};
  const auto [end, error] = std::from_chars(entry->data(), entry->data() + entry->size(), approval.subject.entry);
  const auto time = ParseTime(*expires);
  if (error != std::errc() || end != entry->data() + entry->size() || !time || !IsApproverName(*approver))
    return wrong("a line says what it cannot");
  approval.approver = *approver;
  approval.expires_ns = *time;
  approval.statement = std::string(text.substr(0, text.size() - rest.size()));
  if (TakeLine(rest, "") != "") return wrong("no empty line before the signature");
  const auto encoded = TakeLine(rest, "");
  const auto signature = encoded ? ParseBase64(*encoded, approval.signature.size()) : std::nullopt;
  if (!signature || signature->size() != approval.signature.size() || !rest.empty())
    return wrong("the signature is not 64 octets in base64");
  std::copy(signature->begin(), signature->end(), approval.signature.begin());
  return approval;
}

Result<std::vector<const Approver*>> CheckApprovals(const std::vector<std::string>& texts,
                                                    const ApprovalSubject& subject,
                                                    const std::vector<Approver>& approvers, std::size_t needed,
                                                    std::int64_t now_ns) {
  std::vector<const Approver*> out;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string which = "approval " + std::to_string(i + 1) + ": ";
    const auto approval = ParseApproval(texts[i]);
    if (!approval) return Fail(Code::kDenied, which + approval.error().context);
    const Approver* who = nullptr;
    if (const auto good = CheckOne(*approval, subject, approvers, now_ns, who); !good)
      return Fail(Code::kDenied, which + good.error().context);
    if (std::find(out.begin(), out.end(), who) != out.end())
      return Fail(Code::kDenied, which + who->name + " has approved already: one person counts once");
    out.push_back(who);
  }
  if (out.size() >= needed) return out;
  return Fail(Code::kDenied, "this change needs the approval of " + std::to_string(needed) +
                                 " people, and has that of " + std::to_string(out.size()));
}

}  // namespace stele::netfilter
