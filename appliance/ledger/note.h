// Signed notes and checkpoints: the form in which the log's size and root are signed, served and extended.
//
//   note       := text "\n" signature+                      c2sp.org/signed-note, UTF-8, no control character but
//   newline signature  := "— " name " " base64(key_id[4] || signature) "\n"             U+2014, space; base64 per RFC
//   4648 section 4
//   key_id     := first 4 bytes of SHA-256(name || "\n" || type || public_key[32])    Ed25519 (RFC 8032); type 0x01
//   signs notes, 0x04 cosigns checkpoints (cosignature.h)
//   vkey       := name "+" hex(key_id) "+" base64(type || public_key[32])             the form stock verifiers read
//   text       := origin "\n" size "\n" base64(root) "\n"   c2sp.org/tlog-checkpoint; Stele writes no extension lines
//
// The signature covers the text with its last newline, not the blank line. A checkpoint's digest, wherever one is
// extended or quoted, is SHA-256 over the note with the log's own signature line alone, exactly as first persisted.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/hash.h"

namespace stele::ledger {

inline constexpr std::size_t kNoteBytesMax = std::size_t{64} * 1024;
inline constexpr std::size_t kNoteSignaturesMax = 64;  // a verifier must accept at least 16
inline constexpr std::size_t kKeyBytes = 32;           // Ed25519 seed and public key
inline constexpr std::size_t kSignatureBytes = 64;

using KeyId = std::array<std::byte, 4>;

struct Checkpoint {
  std::string origin;
  std::uint64_t size = 0;
  Hash root{};
};

[[nodiscard]] std::string FormatCheckpoint(const Checkpoint& checkpoint);
// kInvalid unless the text is exactly what FormatCheckpoint makes of the result (so: no extension lines, no leading
// zero, no other base64 of the same bytes).
[[nodiscard]] Result<Checkpoint> ParseCheckpoint(std::string_view text);
// The same of another's log, which may write extension lines (not empty, of no meaning here).
[[nodiscard]] Result<Checkpoint> ParseForeignCheckpoint(std::string_view text);

// Non-empty valid UTF-8 without Unicode spaces, control characters and "+".
[[nodiscard]] bool IsKeyName(std::string_view name);

enum class KeyType : std::uint8_t { kNote = 0x01, kCosigner = 0x04 };

// A public key and its name. The type is part of the key id, so a line of one kind is never taken for the other.
template <KeyType kType>
struct NoteKey {
  std::string name;
  std::array<std::byte, kKeyBytes> public_key{};

  [[nodiscard]] KeyId Id() const;
  [[nodiscard]] std::string Vkey() const;
};
using VerifyKey = NoteKey<KeyType::kNote>;        // signs a log's checkpoints
using CosignerKey = NoteKey<KeyType::kCosigner>;  // a witness
// kInvalid: not a vkey of an Ed25519 key of this type, or its key id is not that of its name and key.
[[nodiscard]] Result<VerifyKey> ParseVkey(std::string_view vkey);
[[nodiscard]] Result<CosignerKey> ParseCosignerVkey(std::string_view vkey);

// An Ed25519 key pair; the secret half is wiped on destruction.
class SigningKey {
 public:
  // kInvalid: the name is no key name or the seed is not 32 bytes. The caller keeps and wipes its seed.
  [[nodiscard]] static Result<SigningKey> FromSeed(std::string name, ByteView seed);
  SigningKey(SigningKey&& other) noexcept;
  SigningKey& operator=(SigningKey&& other) noexcept;
  SigningKey(const SigningKey&) = delete;
  SigningKey& operator=(const SigningKey&) = delete;
  ~SigningKey();

  [[nodiscard]] const VerifyKey& verify_key() const { return verify_key_; }
  // The whole note: text, blank line, one signature line. The text must end in a newline and obey the rules above
  // (programmer's error otherwise). Deterministic: the same text gives the same note for ever.
  [[nodiscard]] std::string Sign(std::string_view text) const;
  // The bare signature over a message. Who calls it separates its messages from notes by their first line.
  [[nodiscard]] std::array<std::byte, kSignatureBytes> SignMessage(ByteView message) const;

 private:
  SigningKey() = default;
  void Wipe();
  VerifyKey verify_key_;
  std::array<std::byte, 64> secret_{};
};

struct NoteSignature {
  std::string name;
  KeyId key_id{};
  Bytes signature;
};
struct Note {
  std::string text;
  std::vector<NoteSignature> signatures;  // at least one; signatures by unknown keys are kept, not judged
};
// kInvalid: not a signed note. The text is to be ignored until VerifyNote has said yes.
[[nodiscard]] Result<Note> ParseNote(std::string_view note);
// Signature lines alone, as a witness answers them; at least one. kInvalid: anything else.
[[nodiscard]] Result<std::vector<NoteSignature>> ParseSignatureLines(std::string_view lines);
[[nodiscard]] std::string FormatSignatureLine(const NoteSignature& signature);
[[nodiscard]] std::string FormatNote(const Note& note);
// kNotFound: no signature by this key. kDenied: one claims to be, and does not verify.
[[nodiscard]] Result<void> VerifyNote(const Note& note, const VerifyKey& key);

// A checkpoint as its log signed it: parsed, verified, and its origin is the key's name.
struct OpenedCheckpoint {
  Checkpoint checkpoint;
  Hash digest{};  // SHA-256(text, blank line, the log's own signature line)
};
[[nodiscard]] Result<OpenedCheckpoint> OpenCheckpoint(std::string_view note, const VerifyKey& key);

}  // namespace stele::ledger
