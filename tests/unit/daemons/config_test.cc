// Goal: every key of stele.toml is read, and everything else is refused with file, line and reason.
#include "appliance/daemons/config.h"

#include <gtest/gtest.h>

#include <limits>

#include "appliance/base/hash.h"
#include "appliance/daemons/config_alerts.h"
#include "appliance/daemons/config_policy.h"

namespace stele::daemons {
namespace {

std::string ErrorOf(std::string_view text) {
  const auto config = ParseConfig(text, "stele.toml");
  if (config) return "(accepted)";
  EXPECT_EQ(config.error().code, Code::kInvalid);
  return config.error().context;
}

TEST(Config, AnEmptyFileGivesTheDefaults) {
  const auto config = ParseConfig("", "stele.toml");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->zones.front().addresses, std::vector<std::string>{"127.0.0.1"});
  EXPECT_EQ(config->zones.front().syslog_udp_port, 10514);
  EXPECT_EQ(config->zones.front().syslog_tcp_port, 10514);
  EXPECT_EQ(config->zones.front().https_json_port, 8443);
  EXPECT_EQ(config->zones.front().syslog_tls_port, 6514);
  EXPECT_EQ(config->zones.front().json_lines_tls_port, 6515);
  EXPECT_EQ(config->zones.front().relp_port, 2514);
  EXPECT_FALSE(config->zones.front().relp_tls_port.has_value());
  EXPECT_EQ(config->zones.front().relp_refusal, "close");
  EXPECT_EQ(config->zones.front().tls_min, "1.3");
  EXPECT_EQ(config->zones.front().tls_client_auth, "none");
  EXPECT_EQ(config->viewer_port, 9443);
  EXPECT_EQ(config->segment_bytes, limits::kSegmentBytesDefault);
  EXPECT_EQ(config->reserve_bytes, 64 * limits::kMiB);
  EXPECT_EQ(config->zones.front().source_records_per_s, 0U);
  EXPECT_EQ(config->zones.front().source_bytes_per_s, 0U);
  EXPECT_EQ(config->checkpoint_interval_ms, 500);
  EXPECT_EQ(config->heartbeat_interval_ms, 60'000);
  EXPECT_EQ(config->anchor_interval_ms, 3'600'000);
  EXPECT_EQ(config->pcr, 14);
  EXPECT_EQ(config->key, "auto");
  EXPECT_EQ(config->nv_budget, 100'000);
  EXPECT_EQ(config->sha256, Sha256Of(ByteView{}));
}

TEST(Config, RetentionAndItsHolds) {
  EXPECT_EQ(ParseConfig("", "stele.toml")->retention_keep_s, 0) << "nothing expires unless somebody says so";
  const auto config = ParseConfig(R"(
[retention]
keep_s = 31622400
[[retention.holds]]
name = "case-7"
reason = "order of the court"
from = 2026-01-01T00:00:00Z
to = 2026-02-01T01:00:00+01:00
[[retention.holds]]
name = "all of it"
reason = "until somebody has looked"
from = "2026-03-01T00:00:00Z"
)",
                                  "stele.toml");
  ASSERT_TRUE(config) << config.error().context;
  EXPECT_EQ(config->retention_keep_s, 31'622'400);
  ASSERT_EQ(config->retention_holds.size(), 2U);
  EXPECT_EQ(config->retention_holds[0].name, "case-7");
  EXPECT_EQ(config->retention_holds[0].reason, "order of the court");
  EXPECT_EQ(config->retention_holds[0].from_ns, 1'767'225'600'000'000'000);
  EXPECT_EQ(config->retention_holds[0].to_ns, 1'769'904'000'000'000'000);
  EXPECT_EQ(config->retention_holds[1].from_ns, 1'772'323'200'000'000'000);
  EXPECT_EQ(config->retention_holds[1].to_ns, std::numeric_limits<std::int64_t>::max());
  const auto hold = [](std::string_view body) { return ErrorOf("[[retention.holds]]\n" + std::string(body)); };
  EXPECT_NE(hold("name = \"a\"\n").find("needs a name and a reason"), std::string::npos);
  EXPECT_NE(hold("reason = \"a\"\n").find("needs a name and a reason"), std::string::npos);
  const std::string named = "name = \"a\"\nreason = \"b\"\n";
  EXPECT_EQ(hold(named), "(accepted)");
  EXPECT_NE(hold(named + "from = 2026-01-01\n").find("must be a time with its offset"), std::string::npos);
  EXPECT_NE(hold(named + "from = 2026-01-01T00:00:00\n").find("must be a time with its offset"), std::string::npos);
  EXPECT_NE(hold(named + "from = 7\n").find("must be a time with its offset"), std::string::npos);
  EXPECT_NE(hold(named + "from = 2026-01-02T00:00:00Z\nto = 2026-01-01T00:00:00Z\n").find("ends before it begins"), std::string::npos);
  EXPECT_NE(hold(named + "until = 1\n").find("unknown key until"), std::string::npos);
  EXPECT_NE(hold(named + "[[retention.holds]]\n" + named).find("given twice"), std::string::npos);
  EXPECT_NE(ErrorOf("[retention]\nkeep_s = -1\n"), "(accepted)");
  EXPECT_NE(ErrorOf("[retention]\nkeep_s = 4000000000\n"), "(accepted)");
  EXPECT_NE(ErrorOf("[retention]\nholds = 1\n"), "(accepted)");
  EXPECT_NE(ErrorOf("[retention]\ndays = 1\n"), "(accepted)");
}

TEST(Config, SendersAndKeysAreReadAndCheckedOneByOne) {
  const auto config = ParseConfig(R"(
[[ingest.senders]]
name = "gate-a"
token = "0123456789abcdef"
[[ingest.senders]]
name = "camera"
fingerprint = "sha256:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF"
[[ingest.keys]]
kid = "door-7"
alg = "EdDSA"
public_key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
)",
                                  "stele.toml");
  ASSERT_TRUE(config) << config.error().context;
  ASSERT_EQ(config->zones.front().senders.size(), 2U);
  EXPECT_EQ(config->zones.front().senders[0].name, "gate-a");
  EXPECT_EQ(config->zones.front().senders[0].token_sha256, Sha256Of(AsBytes("0123456789abcdef")));
  EXPECT_FALSE(config->zones.front().senders[0].fingerprint);
  EXPECT_EQ(HexOf(*config->zones.front().senders[1].fingerprint),
            "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
  ASSERT_EQ(config->zones.front().keys.size(), 1U);
  EXPECT_EQ(config->zones.front().keys[0].kid, "door-7");
  const auto sender = [](const std::string& members) { return ErrorOf("[[ingest.senders]]\n" + members); };
  EXPECT_NE(sender("name = \"a\"").find("needs a token"), std::string::npos);
  EXPECT_NE(sender("token = \"0123456789abcdef\"").find("needs a name"), std::string::npos);
  EXPECT_NE(sender("name = \"a\"\ntoken = \"short\"").find("fewer than 16"), std::string::npos);
  EXPECT_NE(sender("name = \"a\"\ntoken_sha256 = \"00\"").find("64"), std::string::npos);
  EXPECT_NE(sender("name = \"a\"\nfingerprint = \"00\"").find("sha256:"), std::string::npos);
  EXPECT_NE(sender("name = \"a\"\ntokn = \"x\"").find("unknown key tokn"), std::string::npos);
  EXPECT_NE(ErrorOf("[ingest]\nsenders = 1").find("must be a list"), std::string::npos);
  EXPECT_NE(ErrorOf("[[ingest.senders]]\nname = \"a\"\ntoken = \"0123456789abcdef\"\n"
                    "[[ingest.senders]]\nname = \"b\"\ntoken = \"0123456789abcdef\"").find("same secret"), std::string::npos);
  EXPECT_NE(ErrorOf("[[ingest.keys]]\nkid = \"k\"\nalg = \"none\"\npublic_key = \"\"").find("EdDSA"), std::string::npos);
}

constexpr const char* kEverything = R"(# all of it
[log]
origin = "example.org/log"
[ingest]
address = "::1"
syslog_udp_port = 0
syslog_tcp_port = 601
https_json_port = "off"
syslog_tls_port = 6999
json_lines_tls_port = "off"
relp_port = "off"
relp_tls_port = 20514
relp_refusal = "answer"
tls_certificate = "own.pem"
tls_key = "own.key"
tls_min = "1.2"
tls_client_auth = "request"
tls_client_ca = ["a.pem", "b.pem"]
tls_client_fingerprints = ["sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"]
zone = "dmz"
allowed_sources = ["192.0.2.0/24", "2001:db8::/32"]
hosts = ["logs.example.org"]
message_bytes_max = 65536
tokens = ["0123456789abcdef"]
source_records_per_s = 500
source_bytes_per_s = 100000
[viewer]
address = "192.0.2.1"
port = 443
hosts = ["stele.example.org"]
[store]
segment_bytes = 1048576
reserve_bytes = 524288
codec = "lz4"
[checkpoint]
interval_ms = 100
heartbeat_interval_ms = 5000
commit_window_ms = 20
[anchor]
interval_ms = 60000
pcr = 8
tpm = "embedded"
key = "file"
nv_budget = 500000
[processes]
restart_delay_max_ms = 200
network_namespace = "require"
[sources]
unknown = "refuse"
silence_factor = 5
silence_min_s = 60
silence_messages = 50
[[sources.named]]
name = "core-switch"
address = "192.0.2.1"
silence_s = 600
[[sources.named]]
name = "lab"
address = ["198.51.100.0/24", "2001:db8::/48"]
identity = "agent"
)";

TEST(Config, EveryKeyIsRead) {
  const auto config = ParseConfig(kEverything, "stele.toml");
  ASSERT_TRUE(config) << Describe(config.error());
  EXPECT_EQ(config->origin, "example.org/log");
  EXPECT_EQ(config->zones.front().addresses, std::vector<std::string>{"::1"});
  EXPECT_EQ(config->zones.front().syslog_udp_port, 0);
  EXPECT_EQ(config->zones.front().syslog_tcp_port, 601);
  EXPECT_FALSE(config->zones.front().https_json_port.has_value());
  EXPECT_EQ(config->zones.front().syslog_tls_port, 6999);
  EXPECT_FALSE(config->zones.front().json_lines_tls_port.has_value());
  EXPECT_FALSE(config->zones.front().relp_port.has_value());
  EXPECT_EQ(config->zones.front().relp_tls_port, 20514);
  EXPECT_EQ(config->zones.front().relp_refusal, "answer");
  EXPECT_EQ(config->zones.front().tls_certificate, "own.pem");
  EXPECT_EQ(config->zones.front().tls_key, "own.key");
  EXPECT_EQ(config->zones.front().tls_min, "1.2");
  EXPECT_EQ(config->zones.front().tls_client_auth, "request");
  EXPECT_EQ(config->zones.front().tls_client_ca, (std::vector<std::string>{"a.pem", "b.pem"}));
  EXPECT_EQ(config->zones.front().tls_client_fingerprints.size(), 1U);
  EXPECT_EQ(config->zones.front().name, "dmz");
  EXPECT_EQ(config->zones.front().process, "stele-receive");
  EXPECT_FALSE(config->zones_listed);
  EXPECT_EQ(config->zones.front().allowed_sources.size(), 2U);
  EXPECT_EQ(config->zones.front().hosts, std::vector<std::string>{"logs.example.org"});
  EXPECT_EQ(config->zones.front().message_bytes_max, 65'536U);
  EXPECT_EQ(config->zones.front().tokens, std::vector<std::string>{"0123456789abcdef"});
  EXPECT_EQ(config->viewer_address, "192.0.2.1");
  EXPECT_EQ(config->viewer_port, 443);
  EXPECT_EQ(config->hosts, std::vector<std::string>{"stele.example.org"});
  EXPECT_EQ(config->zones.front().source_records_per_s, 500U);
  EXPECT_EQ(config->zones.front().source_bytes_per_s, 100'000U);
  EXPECT_EQ(config->segment_bytes, 1'048'576U);
  EXPECT_EQ(config->reserve_bytes, 524'288U);
  EXPECT_EQ(config->codec, "lz4");
  EXPECT_EQ(config->checkpoint_interval_ms, 100);
  EXPECT_EQ(config->heartbeat_interval_ms, 5'000);
  EXPECT_EQ(config->commit_window_ms, 20);
  EXPECT_EQ(config->anchor_interval_ms, 60'000);
  EXPECT_EQ(config->pcr, 8);
  EXPECT_EQ(config->tpm.kind, TpmKind::kEmbedded);
  EXPECT_EQ(config->key, "file");
  EXPECT_EQ(config->nv_budget, 500'000);
  EXPECT_EQ(config->restart_delay_max_ms, 200);
  EXPECT_EQ(config->network_namespace, "require");
  EXPECT_TRUE(config->sources.refuse_unknown);
  EXPECT_EQ(config->sources.silence_factor, 5);
  EXPECT_EQ(config->sources.silence_min_s, 60);
  EXPECT_EQ(config->sources.silence_messages, 50);
  ASSERT_EQ(config->sources.named().size(), 2U);
  EXPECT_EQ(config->sources.named()[0].name, "core-switch");
  EXPECT_EQ(config->sources.named()[0].silence_s, 600);
  EXPECT_EQ(config->sources.named()[1].addresses.size(), 2U);
  EXPECT_EQ(config->sources.named()[1].identity, "agent");
  EXPECT_EQ(config->sha256, Sha256Of(AsBytes(kEverything)));
}

TEST(Config, TheReserveIsAQuarterOfASegmentWithinBounds) {
  EXPECT_EQ(ParseConfig("[store]\nsegment_bytes = 1048576\n", "stele.toml")->reserve_bytes, 256 * limits::kKiB);
  EXPECT_EQ(ParseConfig("[store]\nsegment_bytes = 16777216\n", "stele.toml")->reserve_bytes, 4 * limits::kMiB);
  EXPECT_EQ(ParseConfig("[store]\nsegment_bytes = 1073741824\n", "stele.toml")->reserve_bytes, 64 * limits::kMiB);
}

TEST(Config, PartitionsAreAbsolutePathsAndSayTheReserveThemselves) {
  const auto config = ParseConfig("[store]\npartitions = [\"/dev/stele-log/*\", \"/dev/sdb\"]\n", "stele.toml");
  ASSERT_TRUE(config) << config.error().context;
  EXPECT_EQ(config->partitions, (std::vector<std::string>{"/dev/stele-log/*", "/dev/sdb"}));
  EXPECT_EQ(config->reserve_bytes, 0U) << "the ledger knows how large they are";
  EXPECT_EQ(ErrorOf("[store]\npartitions = [\"sdb\"]\n"), "stele.toml:2: store.partitions holds what is no absolute path: sdb");
  EXPECT_NE(ErrorOf("[store]\npartitions = \"/dev/sdb\"\n"), "(accepted)");
  EXPECT_NE(ErrorOf("[store]\npartitions = [\"\"]\n"), "(accepted)");
}

TEST(Config, FlowsOfAlertsAreReadAndCheckedOneByOne) {
  const auto config = ParseConfig(R"(
[alerts]
alarm_after_s = 60
retry_max_s = 5
viewer_url = "https://stele.example.org:9443/"
[[alerts.flows]]
name = "soc"
to = "syslog-tls://siem.example.org"
ca = "keys/siem-ca.pem"
certificate = "keys/courier.pem"
key = "keys/courier.key"
losses = true
sources = ["core-switch"]
[[alerts.flows]]
name = "hook"
to = "https://alerts.example.org/stele"
receipts = true
)",
                                  "stele.toml");
  ASSERT_TRUE(config) << config.error().context;
  EXPECT_EQ(config->alerts_alarm_after_s, 60);
  EXPECT_EQ(config->alerts_retry_max_s, 5);
  EXPECT_EQ(config->alerts_viewer_url, "https://stele.example.org:9443");
  ASSERT_EQ(config->alert_flows.size(), 2U);
  EXPECT_EQ(config->alert_flows[0].sources, std::vector<std::string>{"core-switch"});
  EXPECT_TRUE(config->alert_flows[0].losses);
  EXPECT_FALSE(config->alert_flows[0].receipts);
  EXPECT_TRUE(config->alert_flows[1].receipts);
  const auto flow = [](const std::string& text) { return ErrorOf("[[alerts.flows]]\n" + text); };
  const std::string good = "name = \"a\"\nto = \"syslog-tls://siem\"\n";
  EXPECT_EQ(flow(good), "(accepted)");
  EXPECT_NE(flow(good + "cb = \"x\"\n").find("entry 1 has the unknown key cb"), std::string::npos);
  EXPECT_NE(flow(good + "losses = 1\n").find("losses must be true or false"), std::string::npos);
  EXPECT_NE(flow(good + "key = \"x\"\n").find("certificate and key go together"), std::string::npos);
  EXPECT_NE(flow(good + "[[alerts.flows]]\n" + good).find("entry 2 has the name of an entry before it"), std::string::npos);
  EXPECT_NE(flow("name = \"../a\"\nto = \"syslog-tls://siem\"\n").find("needs a name"), std::string::npos);
  EXPECT_NE(flow("name = \"a\"\nto = \"http://siem\"\n").find("to must be syslog-tls://"), std::string::npos);
  EXPECT_NE(flow("name = \"a\"\nto = \"https://h/\"\nsources = [\"b\"]\n").find("sources go to a SIEM"), std::string::npos);
  EXPECT_NE(ErrorOf("[alerts]\nviewer_url = \"http://h\"\n").find("must be https://host[:port]"), std::string::npos);
  EXPECT_NE(ErrorOf("[alerts]\nflow = 1\n").find("unknown key alerts.flow"), std::string::npos);
}

TEST(Config, UnknownKeysAndSectionsNameTheLine) {
  EXPECT_EQ(ErrorOf("[ingest]\nadress = \"127.0.0.1\"\n"), "stele.toml:2: unknown key ingest.adress");
  EXPECT_EQ(ErrorOf("\n\n[igest]\n"), "stele.toml:3: unknown section [igest]");
  EXPECT_EQ(ErrorOf("port = 3\n"), "stele.toml:1: unknown section [port]");
  EXPECT_EQ(ErrorOf("viewer = 3\n"), "stele.toml:1: viewer must be a section: [viewer]");
  EXPECT_EQ(ErrorOf("[ingest]\n[ingest.more]\nx = 1\n"), "stele.toml:2: unknown key ingest.more");
}

TEST(Config, ControlCharactersInAKeyAreShownNotPrinted) {
  EXPECT_EQ(ErrorOf("[ingest]\n\"\\u001b[31m\" = 1\n").find('\x1b'), std::string::npos);
}

TEST(Config, SyntaxErrorsNameTheLine) {
  EXPECT_EQ(ErrorOf("[ingest]\nzone = \n").rfind("stele.toml:2: ", 0), 0U);
  EXPECT_EQ(ErrorOf("[viewer]\nport = 1\nport = 2\n").rfind("stele.toml:3: ", 0), 0U);
}

TEST(Config, ValuesOutOfRangeSayWhatTheyShouldBe) {
  EXPECT_EQ(ErrorOf("[viewer]\nport = 65536\n"), "stele.toml:2: viewer.port must be a whole number from 0 to 65535");
  EXPECT_EQ(ErrorOf("[viewer]\nport = \"9443\"\n"), "stele.toml:2: viewer.port must be a whole number from 0 to 65535");
  EXPECT_EQ(ErrorOf("[ingest]\nsyslog_udp_port = -1\n"),
            "stele.toml:2: ingest.syslog_udp_port must be a port from 0 to 65535, or \"off\"");
  EXPECT_EQ(ErrorOf("[ingest]\naddress = \"localhost\"\n"),
            "stele.toml:2: ingest.address must be an IPv4 or IPv6 address in a string");
  EXPECT_EQ(ErrorOf("[store]\ncodec = \"gzip\"\n"), "stele.toml:2: store.codec must be one of \"auto\", \"zstd\", \"lz4\", \"none\"");
  EXPECT_EQ(ErrorOf("[anchor]\npcr = 16\n"), "stele.toml:2: anchor.pcr must be 14, 13 or 8");
  EXPECT_EQ(ErrorOf("[anchor]\npcr = 23\n"), "stele.toml:2: anchor.pcr must be 14, 13 or 8");
  EXPECT_EQ(ErrorOf("[anchor]\nkey = \"disk\"\n"), "stele.toml:2: anchor.key must be one of \"auto\", \"tpm\", \"file\"");
  EXPECT_NE(ErrorOf("[anchor]\nnv_budget = 9\n"), "(accepted)");
  EXPECT_EQ(ErrorOf("[ingest]\ntokens = [\"short\"]\n"),
            "stele.toml:2: ingest.tokens holds a string of fewer than 16 characters");
  EXPECT_NE(ErrorOf("[log]\norigin = \"two words\"\n"), "(accepted)");
  EXPECT_NE(ErrorOf("[store]\nsegment_bytes = 1048575\n"), "(accepted)");
  EXPECT_NE(ErrorOf("[store]\nreserve_bytes = 262143\n"), "(accepted)");
  EXPECT_NE(ErrorOf("[ingest]\nsource_records_per_s = -1\n"), "(accepted)");
  EXPECT_NE(ErrorOf("[checkpoint]\ninterval_ms = 500.5\n"), "(accepted)");
}

TEST(Config, ClientAuthenticationIsWholeOrAnError) {
  const std::string needs = "stele.toml: ingest.tls_client_auth needs ingest.tls_client_ca or ingest.tls_client_fingerprints";
  EXPECT_EQ(ErrorOf("[ingest]\ntls_client_auth = \"require\"\n"), needs);
  EXPECT_EQ(ErrorOf("[ingest]\ntls_client_ca = \"ca.pem\"\n"),
            "stele.toml: ingest.tls_client_ca and tls_client_fingerprints need ingest.tls_client_auth");
  EXPECT_EQ(ErrorOf("[ingest]\ntls_certificate = \"own.pem\"\n"),
            "stele.toml: ingest.tls_certificate and ingest.tls_key go together");
  EXPECT_EQ(ErrorOf("[ingest]\ntls_client_fingerprints = [\"sha1:00\"]\n"),
            "stele.toml:2: ingest.tls_client_fingerprints holds what is no fingerprint: \"sha256:\" and 64 hexadecimal digits");
  EXPECT_EQ(ErrorOf("[ingest]\ntls_client_ca = 7\n"), "stele.toml:2: ingest.tls_client_ca must be a file name or a list of them");
  EXPECT_EQ(ErrorOf("[ingest]\ntls_min = \"1.1\"\n"), "stele.toml:2: ingest.tls_min must be one of \"1.3\", \"1.2\"");
  const auto one = ParseConfig("[ingest]\ntls_client_auth = \"require\"\ntls_client_ca = \"ca.pem\"\n", "stele.toml");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->zones.front().tls_client_ca, std::vector<std::string>{"ca.pem"});
}

TEST(Config, EnforcementIsOffUnlessSaidOtherwiseAndItsApproversAreTwoPeople) {
  EXPECT_FALSE(ParseConfig("", "stele.toml")->policy.enforce);
  const std::string alice = "[[policy.approvers]]\nname = \"alice\"\npublic_key = \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"\n";
  const std::string bob = "[[policy.approvers]]\nname = \"bob\"\npublic_key = \"PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw\"\n";
  const auto config = ParseConfig("[policy]\nenforce = true\nrestore = true\nat_start = \"apply\"\napprovals = 2\n" + alice + bob, "stele.toml");
  ASSERT_TRUE(config) << config.error().context;
  EXPECT_TRUE(config->policy.enforce && config->policy.restore);
  EXPECT_EQ(config->policy.at_start, "apply");
  EXPECT_EQ(config->policy.approvals, 2U);
  ASSERT_EQ(config->policy.approvers.size(), 2U);
  EXPECT_EQ(config->policy.approvers[1].name, "bob");
  EXPECT_EQ(HexOf(config->policy.approvers[0].public_key), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  const std::string two = "[policy]\napprovals = 2\n";
  EXPECT_EQ(ErrorOf(two + alice), "stele.toml:1: policy.approvals is 2 and there are 1 [[policy.approvers]]: no change could ever be approved");
  EXPECT_NE(ErrorOf(two + alice + alice).find("entry 2 has the name of an entry before it"), std::string::npos);
  std::string same_key = alice;
  same_key.replace(same_key.find("alice"), 5, "mallory");
  EXPECT_NE(ErrorOf(two + alice + same_key).find("entry 2 has the key of an entry before it"), std::string::npos);
  EXPECT_NE(ErrorOf("[[policy.approvers]]\nname = \"a b\"\n").find("entry 1 needs a name"), std::string::npos);
  EXPECT_NE(ErrorOf("[[policy.approvers]]\nname = \"a\"\npublic_key = \"no\"\n").find("no Ed25519 public_key"), std::string::npos);
  EXPECT_NE(ErrorOf("[[policy.approvers]]\nname = \"a\"\nkey = \"no\"\n").find("unknown key key"), std::string::npos);
  EXPECT_EQ(ErrorOf("[policy]\nenforce = \"yes\"\n"), "stele.toml:2: policy.enforce must be true or false");
}

TEST(Config, ANamedSourceThatIsUnclearIsRefusedWithItsNumber) {
  const auto named = [](std::string_view body) { return ErrorOf("[[sources.named]]\n" + std::string(body)); };
  EXPECT_EQ(named("name = \"a\"\naddress = \"192.0.2.1\"\n"), "(accepted)");
  EXPECT_NE(named("name = \"a\"\n").find("number 1: needs an address or an identity"), std::string::npos);
  EXPECT_NE(named("name = \"a\"\naddress = \"192.0.2.1/24\"\n").find("number 1: address \"192.0.2.1/24\" has bits set"),
            std::string::npos);
  EXPECT_NE(named("name = \"a\"\naddres = \"192.0.2.1\"\n").find("number 1: unknown key addres"), std::string::npos);
  EXPECT_NE(named("name = \"a\"\naddress = \"192.0.2.1\"\n[[sources.named]]\nname = \"a\"\naddress = \"192.0.2.2\"\n")
                .find("number 2: the name \"a\" is given twice"),
            std::string::npos);
  EXPECT_NE(named("name = \"a\"\naddress = \"192.0.2.1\"\n[[sources.named]]\nname = \"b\"\naddress = \"192.0.2.1/32\"\n")
                .find("number 2: 192.0.2.1 is \"a\" already"),
            std::string::npos);
  EXPECT_NE(ErrorOf("[sources]\nunknown = \"drop\"\n"), "(accepted)");
  EXPECT_NE(ErrorOf("[sources]\nsilence_factor = 1\n"), "(accepted)");
}

TEST(Config, RulesThatDoNotFitIntoOneFrameAreRefused) {
  std::string text;
  for (int i = 0; i < 1'000; ++i) {
    text += "[[sources.named]]\nname = \"a-rather-long-name-of-a-device-" + std::to_string(i) + "\"\naddress = \"10.0." +
            std::to_string(i / 250) + "." + std::to_string(i % 250) + "\"\n";
  }
  EXPECT_NE(ErrorOf(text).find("too long"), std::string::npos);
}

constexpr const char* kTwoZones = R"([ingest]
message_bytes_max = 65536
source_records_per_s = 100
tokens = ["0123456789abcdef"]
[viewer]
port = 9443
[[zones]]
name = "plant"
address = ["192.0.2.1", "2001:db8::1"]
syslog_udp_port = 514
syslog_tls_port = 6514
allowed_sources = "198.51.100.0/24"
source_records_per_s = 7
[[zones.senders]]
name = "gate"
token = "fedcba9876543210"
[[zones]]
name = "office-2"
address = "192.0.2.2"
syslog_udp_port = 514
tokens = []
)";

TEST(Config, AZoneHasWhatItSaysAndTheRestFromIngestExceptPorts) {
  const auto config = ParseConfig(kTwoZones, "stele.toml");
  ASSERT_TRUE(config) << Describe(config.error());
  EXPECT_TRUE(config->zones_listed);
  ASSERT_EQ(config->zones.size(), 2U);
  const IngestZone& plant = config->zones[0];
  EXPECT_EQ(plant.name, "plant");
  EXPECT_EQ(plant.process, "stele-receive@plant");
  EXPECT_EQ(plant.addresses, (std::vector<std::string>{"192.0.2.1", "2001:db8::1"}));
  EXPECT_EQ(plant.syslog_udp_port, 514);
  EXPECT_EQ(plant.syslog_tls_port, 6514);
  EXPECT_FALSE(plant.syslog_tcp_port);
  EXPECT_FALSE(plant.https_json_port);
  EXPECT_EQ(plant.allowed_sources.size(), 1U);
  EXPECT_EQ(plant.source_records_per_s, 7U);
  EXPECT_EQ(plant.message_bytes_max, 65'536U);
  EXPECT_EQ(plant.tokens.size(), 1U);
  EXPECT_EQ(plant.senders.size(), 1U);
  const IngestZone& office = config->zones[1];
  EXPECT_EQ(office.name, "office-2");
  EXPECT_EQ(office.source_records_per_s, 100U);
  EXPECT_TRUE(office.allowed_sources.empty());
  EXPECT_TRUE(office.tokens.empty());
  EXPECT_TRUE(office.senders.empty());
  EXPECT_EQ(config->values.at("zones.plant.syslog_udp_port"), "514");
  EXPECT_EQ(config->values.at("zones.office-2.address"), "'192.0.2.2'");
}

TEST(Config, AZoneThatIsWrongIsRefusedWithItsLine) {
  const auto zone = [](const std::string& body) { return ErrorOf("[[zones]]\n" + body); };
  EXPECT_EQ(zone("name = \"a\"\nrelp_port = 0\n"), "(accepted)");
  EXPECT_EQ(zone("relp_port = 0\n"), "stele.toml:1: a zone without a name");
  EXPECT_EQ(zone("name = \"a\"\n"), "stele.toml:1: zone \"a\" listens on no port");
  EXPECT_EQ(zone("name = \"a\"\nrelp_prt = 0\n"), "stele.toml:3: unknown key zones.relp_prt");
  EXPECT_EQ(zone("name = \"a\"\nzone = \"b\"\n"), "stele.toml:3: unknown key zones.zone");
  EXPECT_EQ(zone("name = \"a\"\nrelp_port = 70000\n"),
            "stele.toml:3: zones.relp_port must be a port from 0 to 65535, or \"off\"");
  EXPECT_EQ(zone("name = \"a\"\nrelp_port = 0\nallowed_sources = [\"10.1.2.3/8\"]\n")
                .rfind("stele.toml:4: zones.allowed_sources \"10.1.2.3/8\" has bits set", 0),
            0U);
  EXPECT_EQ(zone("name = \"a\"\nrelp_port = 0\naddress = [\"::1\", \"::1\"]\n"),
            "stele.toml:4: zones.address holds ::1 twice");
  EXPECT_EQ(zone("name = \"a\"\nrelp_port = 0\ntls_client_auth = \"require\"\n"),
            "stele.toml:1: zones.tls_client_auth needs zones.tls_client_ca or zones.tls_client_fingerprints");
  for (const char* name : {"", "-a", "a b", "a/b", "a-name-of-more-than-32-characters"}) {
    EXPECT_EQ(zone("name = \"" + std::string(name) + "\"\n").rfind("stele.toml:2: zones.name must have 1 to 32", 0), 0U)
        << name;
  }
  EXPECT_EQ(zone("name = \"operator\"\n"), "stele.toml:1: no zone takes records: each of [[zones]] is of another kind");
  EXPECT_EQ(zone("name = \"operator\"\nrelp_port = 0\n"), "stele.toml:3: unknown key zones.relp_port");
  EXPECT_EQ(ErrorOf("[zones]\nname = \"a\"\n"), "stele.toml:1: zones must be tables: [[zones]]");
  EXPECT_EQ(ErrorOf("[ingest]\nrelp_port = 1\n[[zones]]\nname = \"a\"\n"),
            "stele.toml:2: ingest.relp_port has no place beside [[zones]]: each zone names its own");
}

constexpr const char* kPolicyText = R"([ingest]
connections_per_source = 7
[viewer]
address = "203.0.113.5"
[[zones]]
name = "operator"
interface = "eth0"
allowed_sources = ["203.0.113.0/27"]
[[zones]]
name = "plant"
interface = "eth1"
address = "10.20.0.1"
allowed_sources = ["10.20.0.0/16"]
syslog_udp_port = 514
syslog_tls_port = 6514
sources_at_a_time = 300
[[zones]]
name = "management"
interface = "eth0"
address = "203.0.113.5"
tcp_ports = [22]
[[zones.flows]]
name = "time"
to = ["203.0.113.60", "203.0.113.61"]
udp_ports = [123]
)";

TEST(Config, TheNetworkPolicyIsReadFromTheZonesThemselves) {
  const auto config = ParseConfig(kPolicyText, "stele.toml");
  ASSERT_TRUE(config.has_value()) << config.error().context;
  ASSERT_EQ(config->zones.size(), 1U) << "only one of them takes records";
  const auto policy = PolicyOf(*config);
  ASSERT_TRUE(policy.has_value()) << policy.error().text;
  ASSERT_EQ(policy->zones.size(), 3U);
  const netfilter::Zone& plant = policy->zones[0];
  EXPECT_EQ(plant.interface, "eth1");
  EXPECT_EQ(plant.line, 9U);
  ASSERT_EQ(plant.doors.size(), 2U) << "the listeners of its receiver";
  EXPECT_EQ(netfilter::PortText(plant.doors[0].port), "udp/514");
  EXPECT_EQ(plant.doors[1].service, "syslog-tls");
  EXPECT_EQ(plant.limits.connections, 7U) << "from [ingest]";
  EXPECT_EQ(plant.limits.sources, 300U);
  const netfilter::Zone& viewers = policy->zones[1];
  ASSERT_EQ(viewers.doors.size(), 1U);
  EXPECT_EQ(netfilter::PortText(viewers.doors[0].port), "tcp/9443");
  EXPECT_EQ(IpPrefixText({viewers.addresses.at(0), 128}), "203.0.113.5") << "where the viewer listens";
  const netfilter::Zone& management = policy->zones[2];
  ASSERT_EQ(management.flows.size(), 1U);
  EXPECT_EQ(management.flows[0].destinations.size(), 2U);
  EXPECT_EQ(netfilter::PortText(management.flows[0].ports.at(0)), "udp/123");
  EXPECT_EQ(management.doors.at(0).service, "tcp/22");
}

TEST(Config, TheNetworkPolicyAndTheViewerAgree) {
  const auto problem = [](const std::string& viewer) {
    std::string text = kPolicyText;
    text.replace(text.find("203.0.113.5"), 11, viewer);
    text.insert(text.find("allowed_sources"), "address = \"203.0.113.5\"\n");
    const auto config = ParseConfig(text, "stele.toml");
    const auto policy = PolicyOf(config.value());
    return policy ? std::string() : std::to_string(policy.error().line) + " " + policy.error().text;
  };
  EXPECT_EQ(problem("203.0.113.5"), "");
  EXPECT_EQ(problem("0.0.0.0"), "");
  EXPECT_EQ(problem("127.0.0.1"),
            "5 zone operator: the viewer listens on 127.0.0.1 (viewer.address), which is no address of this zone");
  const auto none = ParseConfig("", "stele.toml");
  EXPECT_EQ(PolicyOf(none.value()).error().text, "no zone names an interface: there is no network policy");
}

TEST(Config, AFlowOfAlertsThatThePolicyGivesNoWayOutIsWarnedAbout) {
  const auto warned = [](const std::string& to) {
    const std::string zone =
        "[[zones]]\nname = \"plant\"\ninterface = \"eth1\"\naddress = \"10.0.0.1\"\nsyslog_udp_port = 514\n"
        "[[zones]]\nname = \"alert\"\ninterface = \"eth0\"\naddress = \"203.0.113.5\"\n"
        "[[zones.flows]]\nname = \"siem\"\nto = \"203.0.113.61\"\ntcp_ports = [6514]\n";
    const auto config =
        ParseConfig(zone + "[[alerts.flows]]\nname = \"soc\"\nto = \"" + to + "\"\nca = \"ca.pem\"\n", "stele.toml");
    const auto findings = CheckWaysOut(config.value(), PolicyOf(config.value()).value());
    return findings.empty() ? std::string() : findings.front().text;
  };
  EXPECT_EQ(warned("syslog-tls://203.0.113.61:6514"), "");
  EXPECT_EQ(warned("syslog-tls://siem.example.org"), "") << "its address is not known here";
  EXPECT_EQ(warned("syslog-tls://203.0.113.62:6514"),
            "alerts.flows soc: no flow of a zone leads to 203.0.113.62 tcp/6514: nothing of it will arrive");
  EXPECT_NE(warned("https://siem.example.org/x").find("siem.example.org tcp/443"), std::string::npos);
}

TEST(Config, WhatANetworkPolicyCannotSayIsTold) {
  const auto with = [](const std::string& line) { return ErrorOf(std::string(kPolicyText) + line); };
  EXPECT_EQ(with("prots = [1]\n"), "stele.toml:22: zones.flows number 1: unknown key prots");
  EXPECT_EQ(with("tcp_ports = [0]\n"), "stele.toml:22: zones.flows number 1: tcp_ports must be a list of ports from 1 to 65535");
  EXPECT_EQ(with("[[zones]]\nname = \"operator\"\n"), "stele.toml:27: zones.name \"operator\" is given twice");
  EXPECT_EQ(with("[[zones]]\nname = \"alert\"\ntcp_ports = [1]\n"), "stele.toml:28: unknown key zones.tcp_ports");
  EXPECT_EQ(with("[[zones.flows]]\nname = \"a b\"\n"),
            "stele.toml:22: zones.flows number 2: name must have 1 to 32 letters, digits and hyphens");
}

TEST(Config, ZonesAreToldApartByNameAndAreBounded) {
  const auto zone = [](const std::string& name) { return "[[zones]]\nname = \"" + name + "\"\nrelp_port = 0\n"; };
  EXPECT_EQ(ErrorOf(zone("a") + zone("b") + zone("a")), "stele.toml:8: zones.name \"a\" is given twice");
  std::string text;
  for (std::size_t i = 0; i < limits::kZones; ++i) text += zone("zone" + std::to_string(i));
  EXPECT_EQ(ErrorOf(text), "(accepted)");
  EXPECT_EQ(ErrorOf(text + zone("one-more")), "stele.toml:97: more than 32 zones");
}

TEST(Config, TwoListenersOnOnePortOfOneAddressAreRefused) {
  const auto zones = [](const std::string& first, const std::string& second) {
    return ErrorOf("[[zones]]\nname = \"a\"\n" + first + "[[zones]]\nname = \"b\"\n" + second);
  };
  const std::string tcp = "syslog_tcp_port = 514\n";
  EXPECT_EQ(zones(tcp, "relp_port = 514\n"),
            "stele.toml:6: zones.relp_port wants 127.0.0.1:514, which is syslog-tcp of zone a");
  EXPECT_EQ(zones(tcp, "syslog_udp_port = 514\n"), "(accepted)");  // another protocol
  EXPECT_EQ(zones(tcp, tcp + "address = \"127.0.0.2\"\n"), "(accepted)");
  EXPECT_EQ(zones("syslog_tcp_port = 0\n", "syslog_tcp_port = 0\n"), "(accepted)");
  for (const char* everywhere : {"0.0.0.0", "::"}) {
    const std::string address = "address = \"" + std::string(everywhere) + "\"\n";
    EXPECT_NE(zones(tcp, tcp + address), "(accepted)") << everywhere;
    EXPECT_NE(zones(tcp + address, tcp), "(accepted)") << everywhere;
  }
  EXPECT_EQ(zones(tcp + "address = \"::1\"\n", tcp + "address = \"0.0.0.0\"\n"), "(accepted)");
  EXPECT_NE(zones(tcp + "address = \"::1\"\n", tcp + "address = \"0:0::1\"\n"), "(accepted)");
  EXPECT_EQ(zones(tcp, "relp_port = 9443\n"),
            "stele.toml:6: zones.relp_port wants 127.0.0.1:9443, which is the viewer");
  EXPECT_EQ(ErrorOf("[ingest]\nrelp_port = 514\nsyslog_tcp_port = 514\n"),
            "stele.toml:2: ingest.relp_port wants 127.0.0.1:514, which is syslog-tcp of zone default");
  EXPECT_EQ(ErrorOf("[viewer]\nport = 6514\n"),
            "stele.toml: ingest.syslog_tls_port wants 127.0.0.1:6514, which is the viewer");
}

TEST(Config, AReloadNamesTheKeysOfZonesThatMustWait) {
  auto running = ParseConfig("[[zones]]\nname = \"a\"\nrelp_port = 0\n", "stele.toml");
  const auto fresh =
      ParseConfig("[[zones]]\nname = \"a\"\nrelp_port = 1\n[[zones]]\nname = \"b\"\nrelp_port = 2\n", "stele.toml");
  ASSERT_TRUE(running);
  ASSERT_TRUE(fresh);
  EXPECT_EQ(TakeLive(*running, *fresh),
            (std::vector<std::string>{"zones.a.relp_port", "zones.b.name", "zones.b.relp_port"}));
  EXPECT_EQ(running->zones.size(), 1U);
}

TEST(Config, AReloadTakesWhoMaySendAndHowMuchOfEveryZoneInBothFiles) {
  const std::string zone = "[[zones]]\nname = \"a\"\nrelp_port = 0\n";
  auto running = ParseConfig("[ingest]\ntokens = [\"0123456789abcdef\"]\n" + zone, "stele.toml");
  const auto fresh =
      ParseConfig("[ingest]\ntokens = [\"fedcba9876543210\"]\n" + zone +
                      "source_records_per_s = 5\nsource_bytes_per_s = 6\nallowed_sources = \"192.0.2.0/24\"\n"
                      "[[zones.senders]]\nname = \"gate\"\ntoken = \"0000111122223333\"\n"
                      "[[zones]]\nname = \"b\"\nrelp_port = 0\nsource_records_per_s = 9\n",
                  "stele.toml");
  ASSERT_TRUE(running);
  ASSERT_TRUE(fresh) << fresh.error().context;
  EXPECT_EQ(TakeLive(*running, *fresh),
            (std::vector<std::string>{"zones.b.name", "zones.b.relp_port", "zones.b.source_records_per_s"}));
  ASSERT_EQ(running->zones.size(), 1U);
  const IngestZone& a = running->zones.front();
  EXPECT_EQ(a.tokens, std::vector<std::string>{"fedcba9876543210"});
  EXPECT_EQ(a.source_records_per_s, 5U);
  EXPECT_EQ(a.source_bytes_per_s, 6U);
  EXPECT_EQ(a.allowed_sources.size(), 1U);
  EXPECT_EQ(a.senders.size(), 1U);
}

TEST(Config, AReloadOfTheOneZoneTakesItsQuotasThoughItsNameMustWait) {
  auto running = ParseConfig("", "stele.toml");
  const auto fresh = ParseConfig("[ingest]\nzone = \"dmz\"\nsource_records_per_s = 5\n", "stele.toml");
  ASSERT_TRUE(running);
  ASSERT_TRUE(fresh);
  EXPECT_EQ(TakeLive(*running, *fresh), std::vector<std::string>{"ingest.zone"});
  EXPECT_EQ(running->zones.front().name, "default");
  EXPECT_EQ(running->zones.front().source_records_per_s, 5U);
}

TEST(Config, KeysAboutSocketsAreToldApart) {
  for (const char* key :
       {"ingest.relp_port", "viewer.port", "zones.a.address", "zones.b.name", "zones.a.syslog_udp_port"}) {
    EXPECT_TRUE(ConcernsListeners(key)) << key;
  }
  for (const char* key : {"store.codec", "ingest.message_bytes_max", "zones.a.tls_min"})
    EXPECT_FALSE(ConcernsListeners(key)) << key;
}

TEST(Config, AReloadTakesTheSourcesAndNamesWhatMustWait) {
  auto running = ParseConfig("[viewer]\nport = 443\n[sources]\nunknown = \"accept\"\n", "stele.toml");
  const auto fresh = ParseConfig("[viewer]\nport = 444\n[ingest]\nzone = \"dmz\"\n[sources]\nunknown = \"refuse\"\n", "stele.toml");
  ASSERT_TRUE(running);
  ASSERT_TRUE(fresh);
  EXPECT_EQ(TakeLive(*running, *fresh), (std::vector<std::string>{"viewer.port", "ingest.zone"}));
  EXPECT_EQ(running->viewer_port, 443);
  EXPECT_EQ(running->zones.front().name, "default");
  EXPECT_TRUE(running->sources.refuse_unknown);
  EXPECT_EQ(running->sha256, fresh->sha256);
  const auto without = ParseConfig("", "stele.toml");
  EXPECT_EQ(TakeLive(*running, *without), std::vector<std::string>{"viewer.port"});
}

TEST(Config, AMissingFileIsDefaultsUnlessItWasNamed) {
  EXPECT_TRUE(LoadConfig("/nonexistent/stele.toml", false));
  EXPECT_EQ(LoadConfig("/nonexistent/stele.toml", true).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace stele::daemons
