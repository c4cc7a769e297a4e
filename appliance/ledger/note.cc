#include "appliance/ledger/note.h"

#include <sodium.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "appliance/base/text.h"

namespace stele::ledger {
namespace {

static_assert(crypto_sign_SEEDBYTES == kKeyBytes && crypto_sign_PUBLICKEYBYTES == kKeyBytes);
static_assert(crypto_sign_SECRETKEYBYTES == 64 && crypto_sign_BYTES == kSignatureBytes);

constexpr std::string_view kSignaturePrefix = "\xe2\x80\x94 ";  // U+2014, space

const unsigned char* Raw(ByteView bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* Raw(MutableBytes bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

bool IsUtf8(std::string_view text) {
  bool lossy = false;
  (void)ToUtf8(AsBytes(text), &lossy);  // only the question is wanted
  return !lossy;
}

// White_Space of the Unicode character database, beyond ASCII, as UTF-8.
constexpr std::array<std::string_view, 19> kUnicodeSpaces = {
    "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83",
    "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a",
    "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};

bool HasControl(std::string_view text, bool newline_allowed) {
  return std::any_of(text.begin(), text.end(), [newline_allowed](char c) {
    return static_cast<unsigned char>(c) < 0x20 && !(newline_allowed && c == '\n');
  });
}

// The next line without its newline, removed from `rest`; false when no newline is left.
bool TakeLine(std::string_view& rest, std::string_view& line) {
  const std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) return false;
  line = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return true;
}

Result<NoteSignature> ParseSignatureLine(std::string_view line) {
  if (line.substr(0, kSignaturePrefix.size()) != kSignaturePrefix) {
    return Fail(Code::kInvalid, "note: a signature line does not begin with an em dash and a space");
  }
  line.remove_prefix(kSignaturePrefix.size());
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos || !IsKeyName(line.substr(0, space))) {
    return Fail(Code::kInvalid, "note: a signature line has no key name");
  }
  const auto raw = ParseBase64(line.substr(space + 1), kNoteBytesMax);
  NoteSignature signature;
  if (!raw || raw->size() <= signature.key_id.size())
    return Fail(Code::kInvalid, "note: a signature is not base64 of key id and signature");
  signature.name = std::string(line.substr(0, space));
  std::copy_n(raw->begin(), signature.key_id.size(), signature.key_id.begin());
  signature.signature.assign(raw->begin() + static_cast<std::ptrdiff_t>(signature.key_id.size()), raw->end());
  return signature;
}

bool Verifies(std::string_view text, const NoteSignature& signature, const VerifyKey& key) {
  return signature.signature.size() == kSignatureBytes &&
         crypto_sign_verify_detached(Raw(signature.signature), Raw(AsBytes(text)), text.size(), Raw(key.public_key)) ==
             0;
}

bool IsBy(const NoteSignature& signature, const VerifyKey& key) {
  return signature.name == key.name && signature.key_id == key.Id();
}

template <KeyType kType>
Result<NoteKey<kType>> ParseKey(std::string_view vkey) {
  const std::size_t first = vkey.find('+');
  const std::size_t second = first == std::string_view::npos ? first : vkey.find('+', first + 1);
  if (second == std::string_view::npos) return Fail(Code::kInvalid, "vkey: not name+id+key");
  NoteKey<kType> key;
  key.name = std::string(vkey.substr(0, first));
  const auto encoded = ParseBase64(vkey.substr(second + 1), 1 + kKeyBytes);
  if (!IsKeyName(key.name) || !encoded || encoded->size() != 1 + kKeyBytes ||
      encoded->front() != static_cast<std::byte>(kType)) {
    return Fail(Code::kInvalid, kType == KeyType::kNote ? "vkey: not the name and public key of an Ed25519 note key"
                                                        : "vkey: not the name and public key of an Ed25519 cosigner");
  }
  std::copy(encoded->begin() + 1, encoded->end(), key.public_key.begin());
  if (vkey.substr(first + 1, second - first - 1) != HexOf(key.Id())) {
    return Fail(Code::kInvalid, "vkey: the key id does not belong to this name and key");
  }
  return key;
}

}  // namespace

std::string FormatCheckpoint(const Checkpoint& checkpoint) {
  return checkpoint.origin + "\n" + std::to_string(checkpoint.size) + "\n" + Base64Of(checkpoint.root) + "\n";
}

Result<Checkpoint> ParseForeignCheckpoint(std::string_view text) {
  std::string_view rest = text;
  std::string_view origin;
  std::string_view size;
  std::string_view root;
  if (!TakeLine(rest, origin) || !TakeLine(rest, size) || !TakeLine(rest, root) || origin.empty()) {
    return Fail(Code::kInvalid, "checkpoint: not origin, size and root on three lines");
  }
  Checkpoint checkpoint;
  checkpoint.origin = std::string(origin);
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), checkpoint.size);
  const auto hash = ParseBase64(root, kHashBytes);
  if (error != std::errc{} || end != size.data() + size.size() || !hash || hash->size() != kHashBytes) {
    return Fail(Code::kInvalid, "checkpoint: the size is not a decimal number or the root not base64 of 32 bytes");
  }
  std::copy(hash->begin(), hash->end(), checkpoint.root.begin());
  if (FormatCheckpoint(checkpoint) != text.substr(0, text.size() - rest.size()))
    return Fail(Code::kInvalid, "checkpoint: not in its one canonical form");
  std::string_view extension;
  while (!rest.empty()) {
    if (!TakeLine(rest, extension) || extension.empty())
      return Fail(Code::kInvalid, "checkpoint: an extension line is empty or cut");
  }
  return checkpoint;
}

Result<Checkpoint> ParseCheckpoint(std::string_view text) {
  STELE_TRY(Checkpoint checkpoint, ParseForeignCheckpoint(text));
  if (FormatCheckpoint(checkpoint) != text) return Fail(Code::kInvalid, "checkpoint: it has extension lines");
  return checkpoint;
}

bool IsKeyName(std::string_view name) {
  if (name.empty() || name.find('+') != std::string_view::npos || name.find(' ') != std::string_view::npos)
    return false;
  if (HasControl(name, /*newline_allowed=*/false) || !IsUtf8(name)) return false;
  return std::none_of(kUnicodeSpaces.begin(), kUnicodeSpaces.end(),
                      [name](std::string_view space) { return name.find(space) != std::string_view::npos; });
}

template <KeyType kType>
KeyId NoteKey<kType>::Id() const {
  const auto type = static_cast<std::byte>(kType);
  const Hash digest = Sha256Of({AsBytes(name), AsBytes("\n"), ByteView(&type, 1), public_key});
  KeyId id;
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

template <KeyType kType>
std::string NoteKey<kType>::Vkey() const {
  Bytes encoded{static_cast<std::byte>(kType)};
  Append(encoded, public_key);
  return name + "+" + HexOf(Id()) + "+" + Base64Of(encoded);
}

template struct NoteKey<KeyType::kNote>;
template struct NoteKey<KeyType::kCosigner>;

Result<VerifyKey> ParseVkey(std::string_view vkey) { return ParseKey<KeyType::kNote>(vkey); }
Result<CosignerKey> ParseCosignerVkey(std::string_view vkey) { return ParseKey<KeyType::kCosigner>(vkey); }

Result<SigningKey> SigningKey::FromSeed(std::string name, ByteView seed) {
  if (sodium_init() < 0) return Fail(Code::kIo, "libsodium does not start");
  if (!IsKeyName(name) || seed.size() != kKeyBytes)
    return Fail(Code::kInvalid, "note key: bad name, or seed not of 32 bytes");
  SigningKey key;
  key.verify_key_.name = std::move(name);
  (void)crypto_sign_seed_keypair(Raw(MutableBytes(key.verify_key_.public_key)), Raw(MutableBytes(key.secret_)),
                                 Raw(seed));  // always 0
  return key;
}

SigningKey::SigningKey(SigningKey&& other) noexcept
    : verify_key_(std::move(other.verify_key_)), secret_(other.secret_) {
  other.Wipe();
}

SigningKey& SigningKey::operator=(SigningKey&& other) noexcept {
  if (this != &other) {
    verify_key_ = std::move(other.verify_key_);
    secret_ = other.secret_;
    other.Wipe();
  }
  return *this;
}

SigningKey::~SigningKey() { Wipe(); }

void SigningKey::Wipe() { sodium_memzero(secret_.data(), secret_.size()); }

std::string SigningKey::Sign(std::string_view text) const {
  STELE_CHECK(!text.empty() && text.back() == '\n');
  STELE_CHECK(!HasControl(text, /*newline_allowed=*/true) && IsUtf8(text));
  const auto signature = SignMessage(AsBytes(text));
  return std::string(text) + "\n" + FormatSignatureLine({verify_key_.name, verify_key_.Id(), ToBytes(signature)});
}

std::array<std::byte, kSignatureBytes> SigningKey::SignMessage(ByteView message) const {
  std::array<std::byte, kSignatureBytes> signature;
  (void)crypto_sign_detached(Raw(MutableBytes(signature)), nullptr, Raw(message), message.size(),
                             Raw(secret_));  // always 0
  return signature;
}

Result<std::vector<NoteSignature>> ParseSignatureLines(std::string_view lines) {
  if (lines.size() > kNoteBytesMax) return Fail(Code::kInvalid, "note: too long");
  if (lines.empty() || lines.back() != '\n')
    return Fail(Code::kInvalid, "note: no signature line, or the last one is cut");
  std::vector<NoteSignature> signatures;
  std::string_view line;
  while (TakeLine(lines, line)) {
    if (signatures.size() == kNoteSignaturesMax) return Fail(Code::kInvalid, "note: too many signatures");
    STELE_TRY(NoteSignature signature, ParseSignatureLine(line));
    signatures.push_back(std::move(signature));
  }
  return signatures;
}

std::string FormatSignatureLine(const NoteSignature& signature) {
  Bytes raw(signature.key_id.begin(), signature.key_id.end());
  Append(raw, signature.signature);
  return std::string(kSignaturePrefix) + signature.name + " " + Base64Of(raw) + "\n";
}

std::string FormatNote(const Note& note) {
  std::string text = note.text + "\n";
  for (const NoteSignature& signature : note.signatures) text += FormatSignatureLine(signature);
  return text;
}

Result<Note> ParseNote(std::string_view note) {
  if (note.size() > kNoteBytesMax) return Fail(Code::kInvalid, "note: too long");
  if (HasControl(note, /*newline_allowed=*/true) || !IsUtf8(note)) {
    return Fail(Code::kInvalid, "note: a control character, or not UTF-8");
  }
  // The last blank line parts text and signatures: the text may hold blank lines, signatures cannot.
  const std::size_t split = note.rfind("\n\n");
  if (split == std::string_view::npos) return Fail(Code::kInvalid, "note: no blank line before the signatures");
  Note parsed;
  parsed.text = std::string(note.substr(0, split + 1));
  STELE_TRY(parsed.signatures, ParseSignatureLines(note.substr(split + 2)));
  return parsed;
}

Result<void> VerifyNote(const Note& note, const VerifyKey& key) {
  bool found = false;
  for (const NoteSignature& signature : note.signatures) {
    if (!IsBy(signature, key)) continue;
    //= c2sp.org/signed-note, "Signatures"
    //# If a signature from a known key fails to verify, clients SHOULD reject the whole note.
    if (!Verifies(note.text, signature, key))
      return Fail(Code::kDenied, "note: the signature of " + key.name + " does not verify");
    found = true;
  }
  if (!found) return Fail(Code::kNotFound, "note: not signed by " + key.name);
  return {};
}

Result<OpenedCheckpoint> OpenCheckpoint(std::string_view note, const VerifyKey& key) {
  STELE_TRY(const Note parsed, ParseNote(note));
  STELE_TRY_VOID(VerifyNote(parsed, key));
  OpenedCheckpoint opened;
  STELE_TRY(opened.checkpoint, ParseCheckpoint(parsed.text));
  if (opened.checkpoint.origin != key.name)
    return Fail(Code::kDenied, "checkpoint: its origin is not the log's key name");
  const auto own = std::find_if(parsed.signatures.begin(), parsed.signatures.end(),
                                [&key](const NoteSignature& signature) { return IsBy(signature, key); });
  opened.digest = Sha256Of({AsBytes(FormatNote({parsed.text, {*own}}))});
  return opened;
}

}  // namespace stele::ledger
