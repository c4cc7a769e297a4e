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
constexpr std::byte kEd25519{0x01};

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

std::string SignatureLine(std::string_view name, const KeyId& key_id, ByteView signature) {
  Bytes raw(key_id.begin(), key_id.end());
  Append(raw, signature);
  return std::string(kSignaturePrefix) + std::string(name) + " " + Base64Of(raw) + "\n";
}

bool Verifies(std::string_view text, const NoteSignature& signature, const VerifyKey& key) {
  return signature.signature.size() == kSignatureBytes &&
         crypto_sign_verify_detached(Raw(signature.signature), Raw(AsBytes(text)), text.size(), Raw(key.public_key)) ==
             0;
}

bool IsBy(const NoteSignature& signature, const VerifyKey& key) {
  return signature.name == key.name && signature.key_id == key.Id();
}

}  // namespace

std::string FormatCheckpoint(const Checkpoint& checkpoint) {
  return checkpoint.origin + "\n" + std::to_string(checkpoint.size) + "\n" + Base64Of(checkpoint.root) + "\n";
}

Result<Checkpoint> ParseCheckpoint(std::string_view text) {
  std::string_view rest = text;
  std::string_view origin;
  std::string_view size;
  std::string_view root;
  if (!TakeLine(rest, origin) || !TakeLine(rest, size) || !TakeLine(rest, root) || !rest.empty() || origin.empty()) {
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
  if (FormatCheckpoint(checkpoint) != text) return Fail(Code::kInvalid, "checkpoint: not in its one canonical form");
  return checkpoint;
}

bool IsKeyName(std::string_view name) {
  if (name.empty() || name.find('+') != std::string_view::npos || name.find(' ') != std::string_view::npos)
    return false;
  if (HasControl(name, /*newline_allowed=*/false) || !IsUtf8(name)) return false;
  return std::none_of(kUnicodeSpaces.begin(), kUnicodeSpaces.end(),
                      [name](std::string_view space) { return name.find(space) != std::string_view::npos; });
}

KeyId VerifyKey::Id() const {
  const Hash digest = Sha256Of({AsBytes(name), AsBytes("\n"), ByteView(&kEd25519, 1), public_key});
  KeyId id;
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

std::string VerifyKey::Vkey() const {
  Bytes encoded{kEd25519};
  Append(encoded, public_key);
  return name + "+" + HexOf(Id()) + "+" + Base64Of(encoded);
}

Result<VerifyKey> ParseVkey(std::string_view vkey) {
  const std::size_t first = vkey.find('+');
  const std::size_t second = first == std::string_view::npos ? first : vkey.find('+', first + 1);
  if (second == std::string_view::npos) return Fail(Code::kInvalid, "vkey: not name+id+key");
  VerifyKey key;
  key.name = std::string(vkey.substr(0, first));
  const auto encoded = ParseBase64(vkey.substr(second + 1), 1 + kKeyBytes);
  if (!IsKeyName(key.name) || !encoded || encoded->size() != 1 + kKeyBytes || encoded->front() != kEd25519) {
    return Fail(Code::kInvalid, "vkey: not the name and public key of an Ed25519 note key");
  }
  std::copy(encoded->begin() + 1, encoded->end(), key.public_key.begin());
  if (vkey.substr(first + 1, second - first - 1) != HexOf(key.Id())) {
    return Fail(Code::kInvalid, "vkey: the key id does not belong to this name and key");
  }
  return key;
}

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
  std::array<std::byte, kSignatureBytes> signature;
  (void)crypto_sign_detached(Raw(MutableBytes(signature)), nullptr, Raw(AsBytes(text)), text.size(),
                             Raw(secret_));  // always 0
  return std::string(text) + "\n" + SignatureLine(verify_key_.name, verify_key_.Id(), signature);
}

Result<Note> ParseNote(std::string_view note) {
  if (note.size() > kNoteBytesMax) return Fail(Code::kInvalid, "note: too long");
  if (HasControl(note, /*newline_allowed=*/true) || !IsUtf8(note)) {
    return Fail(Code::kInvalid, "note: a control character, or not UTF-8");
  }
  // The last blank line parts text and signatures: the text may hold blank lines, signatures cannot.
  const std::size_t split = note.rfind("\n\n");
  if (split == std::string_view::npos) return Fail(Code::kInvalid, "note: no blank line before the signatures");
  std::string_view rest = note.substr(split + 2);
  if (rest.empty() || rest.back() != '\n')
    return Fail(Code::kInvalid, "note: no signature line, or the last one is cut");
  Note parsed;
  parsed.text = std::string(note.substr(0, split + 1));
  std::string_view line;
  while (TakeLine(rest, line)) {
    if (parsed.signatures.size() == kNoteSignaturesMax) return Fail(Code::kInvalid, "note: too many signatures");
    STELE_TRY(NoteSignature signature, ParseSignatureLine(line));
    parsed.signatures.push_back(std::move(signature));
  }
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
  opened.digest =
      Sha256Of({AsBytes(parsed.text), AsBytes("\n"), AsBytes(SignatureLine(own->name, own->key_id, own->signature))});
  return opened;
}

}  // namespace stele::ledger
