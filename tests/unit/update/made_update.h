// An update signed with openssl, as builds of images sign it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "appliance/base/hash.h"
#include "appliance/base/system.h"
#include "firmware/update/update_file.h"
#include "tests/unit/update/temporary_folder.h"

namespace stele::update {

inline Part PartOf(ByteView bytes) { return {bytes.size(), Sha256Of(bytes)}; }

class UpdateMaker {
 public:
  UpdateMaker() { MakeKey("update"); }

  void MakeKey(const std::string& name) const {
    Run("openssl genpkey -algorithm ed25519 -out " + name + ".key && openssl pkey -in " + name + ".key -pubout -out " +
        name + ".pem");
  }
  [[nodiscard]] std::string PublicKey(const std::string& name = "update") const {
    return std::string(AsText(ReadFile(folder_ / (name + ".pem"), 4096).value()));
  }
  [[nodiscard]] Bytes Sign(ByteView message, const std::string& key = "update") const {
    EXPECT_TRUE(WriteFileDurably(folder_ / "message", message, 0600));
    Run("openssl pkeyutl -sign -rawin -inkey " + key + ".key -in message -out signature");
    return ReadFile(folder_ / "signature", 4096).value();
  }
  // The bytes of the file; what is signed is the manifest of root, tree and uki.
  [[nodiscard]] Bytes Make(const Manifest& manifest, const std::string& key = "update") const {
    const std::string text = EncodeManifest(manifest);
    Bytes out = ToBytes(AsBytes(kMagic));
    Writer writer(out);
    writer.Int(kFormat);
    writer.Int(static_cast<std::uint32_t>(text.size()));
    writer.Raw(Sign(SignedMessage(AsBytes(text)), key));
    writer.Raw(AsBytes(text));
    for (const Bytes* part : {&root, &tree, &uki}) writer.Raw(*part);
    return out;
  }
  [[nodiscard]] Manifest TheManifest() const { return {"model", 2, PartOf(root), PartOf(tree), PartOf(uki)}; }
  // The same by the program that builds of images use.
  [[nodiscard]] Bytes MakeByBuilder(const std::string& model, std::uint64_t version) const {
    EXPECT_TRUE(WriteFileDurably(folder_ / "root", root, 0600));
    EXPECT_TRUE(WriteFileDurably(folder_ / "tree", tree, 0600));
    EXPECT_TRUE(WriteFileDurably(folder_ / "uki", uki, 0600));
    Run(std::string(STELE_SOURCE_DIR) + "/firmware/update/make-update --model " + model + " --version " +
        std::to_string(version) + " --root root --tree tree --uki uki --key update.key -o built");
    return ReadFile(folder_ / "built", 1 << 24).value();
  }
  [[nodiscard]] const TemporaryFolder& folder() const { return folder_; }

  Bytes root = Bytes(9000, std::byte{1});
  Bytes tree = Bytes(4096, std::byte{2});
  Bytes uki = Bytes(5000, std::byte{3});

 private:
  void Run(const std::string& command) const {
    ASSERT_EQ(std::system(("cd " + folder_.path() + " && " + command + " 2>/dev/null").c_str()), 0) << command;
  }
  TemporaryFolder folder_;
};

}  // namespace stele::update
