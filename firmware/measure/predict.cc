#include "firmware/measure/predict.h"

#include <algorithm>

#include "appliance/base/hash.h"
#include "firmware/measure/authenticode.h"
#include "firmware/measure/event_log.h"
#include "firmware/measure/stub.h"

namespace stele::measure {
namespace {

constexpr std::uint32_t kBootPcr = 4;
constexpr std::uint32_t kSecureBootPcr = 7;
constexpr std::uint32_t kKernelPcr = 9;
constexpr std::uint32_t kImagePcr = 11;
constexpr std::uint32_t kOverridePcr = 12;
constexpr std::string_view kCalling = "Calling EFI Application from Boot Option";
constexpr std::array<std::byte, 4> kSeparatorData{};
constexpr std::size_t kPhaseBytesMax = 64;

class Events {
 public:
  explicit Events(std::vector<PredictedEvent>& out) : out_(out) {}
  void Digest(std::uint32_t pcr, std::uint32_t type, const Hash& digest, std::string what) {
    out_.push_back({pcr, type, digest, std::move(what)});
  }
  void Data(std::uint32_t pcr, std::uint32_t type, ByteView data, std::string what) {
    Digest(pcr, type, Sha256Of(data), std::move(what));
  }
  void Separator(std::uint32_t pcr) { Data(pcr, measure::kSeparator, kSeparatorData, "separator"); }

 private:
  std::vector<PredictedEvent>& out_;
};

bool IsWord(std::string_view phase) {
  return !phase.empty() && phase.size() <= kPhaseBytesMax &&
         std::all_of(phase.begin(), phase.end(),
                     [](char character) { return character > ' ' && character < 0x7f && character != ':'; });
}

void AddSecureBoot(Events& events, Prediction& prediction, const SecureBootVariables& variables,
                   const SignatureEntry& authority) {
  const std::array<std::byte, 1> on{std::byte{1}};
  events.Data(kSecureBootPcr, kEfiVariableDriverConfig, VariableData(kGlobalVariable, "SecureBoot", on),
              "SecureBoot = 1");
  struct Variable {
    const char* name;
    const Guid& name_space;
    const Bytes& content;
  };
  const std::array<Variable, 4> all = {
      Variable{"PK", kGlobalVariable, variables.pk}, Variable{"KEK", kGlobalVariable, variables.kek},
      Variable{"db", kImageDatabase, variables.db}, Variable{"dbx", kImageDatabase, variables.dbx}};
  for (const Variable& one : all) {
    events.Data(kSecureBootPcr, kEfiVariableDriverConfig, VariableData(one.name_space, one.name, one.content),
                one.name);
    prediction.variables[one.name] = Sha256Of(ByteView(one.content));
  }
  events.Separator(kSecureBootPcr);
  events.Data(kSecureBootPcr, kEfiVariableAuthority, VariableData(kImageDatabase, "db", authority.whole),
              "the entry of db that lets the image start");
  prediction.authority_owner = authority.owner;
  prediction.authority_sha256 = Sha256Of(authority.data);
}

void AddSections(Events& events, Prediction& prediction, const UnifiedImage& image) {
  for (const StubSection& section : image.sections) {
    const std::string name(section.name);
    prediction.sections.push_back({name, section.content.size(), Sha256Of(section.content)});
    if (!section.measured) continue;
    events.Data(kImagePcr, kIpl, AsBytes(name + '\0'), name + ", the name");
    events.Data(kImagePcr, kIpl, section.content, name + ", the content");
  }
}

Result<void> AddKernel(Events& events, const UnifiedImage& image) {
  STELE_TRY(const Bytes options, LoadOptionsOf(image));
  if (KernelMeasures(image, kLoadOptionsEvent))
    events.Data(kKernelPcr, kEventTag, options, std::string(kLoadOptionsEvent));
  const Bytes disk = InitialRamDiskOf(image);
  if (!disk.empty() && KernelMeasures(image, kInitialRamDiskEvent)) {
    events.Data(kKernelPcr, kEventTag, disk, std::string(kInitialRamDiskEvent));
  }
  return {};
}

void AddPhases(Events& events, Prediction& prediction, const std::vector<std::string>& phases) {
  std::string path;
  prediction.phases.push_back({path, RegistersAfter(prediction.events)[kImagePcr]});
  for (const std::string& phase : phases) {
    events.Data(kImagePcr, kIpl, AsBytes(phase), "phase " + phase);
    path += (path.empty() ? "" : ":") + phase;
    prediction.phases.push_back({path, RegistersAfter(prediction.events)[kImagePcr]});
  }
}

}  // namespace

std::map<std::uint32_t, Hash> RegistersAfter(const std::vector<PredictedEvent>& events) {
  std::map<std::uint32_t, Hash> registers;
  for (const PredictedEvent& event : events) {
    Hash& value = registers[event.pcr];
    value = Extend(value, event.digest);
  }
  return registers;
}

Result<Prediction> Predict(ByteView uki, const SecureBootVariables& variables, const std::vector<std::string>& phases) {
  if (variables.pk.empty()) return Fail(Code::kInvalid, "no PK: Secure Boot would be off");
  if (phases.size() > kPhasesMax || !std::all_of(phases.begin(), phases.end(), IsWord)) {
    return Fail(Code::kInvalid, "phases are at most 16 words without colons");
  }
  STELE_TRY_VOID(ParseSignatureLists(variables.pk));
  STELE_TRY_VOID(ParseSignatureLists(variables.kek));
  STELE_TRY(const PeImage image, ParsePe(uki));
  STELE_TRY(const UnifiedImage unified, ParseUnifiedImage(uki, image));
  STELE_TRY(const SignatureEntry authority, AuthorityOf(uki, image, variables.db, variables.dbx));

  Prediction prediction;
  prediction.stub = unified.stub;
  prediction.uki_size_bytes = uki.size();
  prediction.uki_sha256 = Sha256Of(uki);
  prediction.authenticode = AuthenticodeDigest(uki, image);
  Events events(prediction.events);
  events.Data(kBootPcr, kEfiAction, AsBytes(kCalling), std::string(kCalling));
  events.Separator(kBootPcr);
  events.Digest(kBootPcr, kEfiBootServicesApplication, prediction.authenticode, "the image");
  AddSecureBoot(events, prediction, variables, authority);
  STELE_TRY_VOID(AddKernel(events, unified));
  AddSections(events, prediction, unified);
  AddPhases(events, prediction, phases);
  prediction.registers = RegistersAfter(prediction.events);
  prediction.registers.try_emplace(kKernelPcr);
  prediction.registers.try_emplace(kOverridePcr);
  return prediction;
}

Result<Hash> ImageRegisterOf(ByteView uki) {
  STELE_TRY(const PeImage image, ParsePe(uki));
  STELE_TRY(const UnifiedImage unified, ParseUnifiedImage(uki, image));
  Prediction prediction;
  Events events(prediction.events);
  AddSections(events, prediction, unified);
  return RegistersAfter(prediction.events)[kImagePcr];
}

}  // namespace stele::measure
