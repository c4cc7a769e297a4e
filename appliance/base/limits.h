// Every bound of Stele on one page. What is configurable says so; everything else is a property of the format or of
// the memory promise (at most 256 MiB in all processes at full load).
#pragma once

#include <cstddef>
#include <cstdint>

namespace stele::limits {

inline constexpr std::size_t kKiB = 1024;
inline constexpr std::size_t kMiB = 1024 * kKiB;

// Records.
inline constexpr std::size_t kMessageBytesDefault = 1 * kMiB;   // configurable: ingest.message_bytes_max
inline constexpr std::size_t kMessageBytesCeiling = 64 * kMiB;  // a counted length above it is a framing error
inline constexpr std::size_t kSourcesPerListener = 65'536;      // then one overflow source
inline constexpr std::size_t kSourceDescriptionBytes = 4 * kKiB;

// Store.
inline constexpr std::size_t kSectorBytes = 4 * kKiB;
inline constexpr std::size_t kBlockRawBytes = 1 * kMiB;         // unless one record is larger
inline constexpr std::size_t kBlockRecords = 65'536;
inline constexpr std::size_t kFrameRawBytes = 64 * kKiB;        // unless one record is larger
inline constexpr std::uint64_t kSegmentBytesDefault = 256 * kMiB;  // configurable: store.segment_bytes
inline constexpr std::uint64_t kSegmentBytesMin = 1 * kMiB;
inline constexpr std::uint64_t kTileLeaves = 256;               // segments end on multiples of it

// Channels.
inline constexpr std::size_t kChannelFrameBytes = 64 * kKiB;
inline constexpr std::size_t kChannelFrameRecords = 4'096;
inline constexpr std::uint32_t kChannelCredits = 64;            // frames in flight
inline constexpr int kChannelSocketBytes = 1 * kMiB;

// Commits, checkpoints, anchors (all configurable).
inline constexpr std::int64_t kCommitWindowMs = 50;             // only for records nobody waits for
inline constexpr std::size_t kCommitGatherBytes = 1 * kMiB;
inline constexpr std::int64_t kCheckpointIntervalMs = 500;
inline constexpr std::int64_t kHeartbeatIntervalMs = 60'000;
inline constexpr std::int64_t kAnchorIntervalMs = 3'600'000;

// Zones.
inline constexpr std::size_t kZones = 32;                       // [[zones]]: a stele-receive each
inline constexpr std::size_t kZoneNameBytes = 32;
inline constexpr std::size_t kZoneAddresses = 4;                // of one zone
inline constexpr std::size_t kZoneSourcePrefixes = 256;         // allowed_sources of one zone
inline constexpr std::size_t kZoneListeners = 32;               // addresses times protocols

// Ways in.
inline constexpr std::size_t kConnections = 4'096;
inline constexpr std::size_t kConnectionsPerAddress = 256;
inline constexpr std::int64_t kFirstFrameMs = 60'000;
inline constexpr std::int64_t kHalfFrameMs = 30'000;
inline constexpr std::size_t kTlsConnections = 1'024;           // of one TLS listener
inline constexpr std::int64_t kStreamSendMs = 30'000;           // a peer that takes none of its answers
inline constexpr std::size_t kStreamPauseBytes = 64 * kKiB;     // answers waiting: nothing more is read from this peer
inline constexpr std::size_t kStreamQueueBytes = 1 * kMiB;      // answers waiting for one peer; above it the peer is closed
inline constexpr std::size_t kStreamQueuesBytes = 16 * kMiB;    // likewise for all peers of one receiver
inline constexpr std::size_t kHttpBodyBytes = 64 * kMiB;
inline constexpr std::size_t kHttpHeaderBytes = 16 * kKiB;
inline constexpr std::size_t kUdpDatagramBytes = 65'536;
inline constexpr std::size_t kHttpBodiesBytes = 96 * kMiB;      // being read or waiting for their commit, one receiver
inline constexpr std::size_t kHttpConnections = 1'024;          // a TLS connection costs about 40 KiB
inline constexpr std::size_t kHttpEvents = 524'288;             // in one body
inline constexpr std::size_t kHttpReceiptEvents = 16'384;       // in one body whose answer carries leaf hashes
inline constexpr std::size_t kBulkActions = 65'536;             // in one Elastic bulk body: its answer names each
inline constexpr std::size_t kOtlpBodyBytes = 16 * kMiB;        // an OTLP request is checked in one go, when all of it is there
inline constexpr std::size_t kGzipStateBytes = 48 * kKiB;       // of one body being inflated, counted against kHttpBodiesBytes
inline constexpr std::size_t kGzipRatioMax = 256;               // inflated to compressed bytes, beyond kGzipFreeBytes
inline constexpr std::size_t kGzipFreeBytes = 1 * kMiB;
inline constexpr std::size_t kSenders = 1'024;                  // registered senders, and registered source keys
inline constexpr std::size_t kSenderNameBytes = 128;
inline constexpr std::size_t kJwsHeaderBytes = 8 * kKiB;
inline constexpr std::size_t kJwsKidBytes = 256;
inline constexpr std::size_t kHttpUnparsedListed = 1'000;       // line numbers named in one answer
inline constexpr std::int64_t kTlsHandshakeMs = 10'000;
inline constexpr std::int64_t kHttpIdleMs = 60'000;             // from one answer to the end of the next header
inline constexpr std::int64_t kHttpBodyStallMs = 30'000;
inline constexpr std::int64_t kHttpBodyMs = 600'000;            // a whole body, however steadily it trickles
inline constexpr std::size_t kRelpUnanswered = 1'048'576;       // transactions of one session; back-pressure comes long before
inline constexpr std::size_t kRelpOffersBytes = 4 * kKiB;       // data of an `open`
inline constexpr std::size_t kRememberedMessages = 524'288;     // fingerprints of messages that may come again, all sessions
inline constexpr std::size_t kRememberedPerSession = 65'536;
inline constexpr std::size_t kRememberedAcrossCrash = 65'536;   // of all sessions together, in a page that outlives the receiver
inline constexpr std::size_t kHalfMessagesBytes = 48 * kMiB;    // of all connections of one receiver

inline constexpr std::size_t kUdpWaitingBytes = 16 * kMiB;      // datagrams of one listener that wait for credit
inline constexpr std::size_t kFairQuantumBytes = 2 * kKiB;      // of one source in its turn
inline constexpr std::size_t kFairItemBytes = 160;              // what a waiting datagram costs beside its octets
inline constexpr std::size_t kListenerNameBytes = 128;

// Losses.
inline constexpr std::size_t kLosersListed = 256;               // per listener and second, the rest without a source
inline constexpr std::size_t kLossEntriesPerFrame = 128;        // about 300 octets each
inline constexpr std::int64_t kLossIntervalFullMs = 60'000;     // between two frames of them while the store is full
inline constexpr std::size_t kTallyFrames = 4 * kChannelCredits;  // committed last: more than can be unacknowledged at a time

// Sources.
inline constexpr std::size_t kSourcesNamed = 1'024;             // [[sources.named]]
inline constexpr std::size_t kSourceRulesBytes = 40 * kKiB;     // all of [sources] as JSON: it travels in one frame
inline constexpr std::size_t kSourceAddresses = 64;             // of one name
inline constexpr std::size_t kSourceNameBytes = 64;
inline constexpr std::int64_t kSilenceSecondsMax = std::int64_t{366} * 86'400;
inline constexpr std::size_t kSourcesCarried = 4'096;           // declared again at a stop, to keep their numbers
inline constexpr std::size_t kSourceAlarmsPerMinute = 32;       // then one alarm that says how many more
inline constexpr std::size_t kSilentSourcesListed = 32;         // in the status
inline constexpr std::size_t kSilentNumbersListed = 2'048;      // likewise, by number only
inline constexpr std::size_t kRefusedPeersListed = 32;          // per listener, one loss entry each, the rest in one more
inline constexpr std::int64_t kRefusedEntryIntervalMs = 60'000; // between two such sets of entries

// Search.
inline constexpr std::size_t kQueryBytes = 2 * kKiB;
inline constexpr std::size_t kQueryTerms = 64;
inline constexpr std::size_t kQueryDepth = 16;
inline constexpr std::size_t kRegexBytes = 256;
inline constexpr std::size_t kSearchRowsDefault = 100;
inline constexpr std::size_t kSearchRowsMax = 1'000;
inline constexpr std::size_t kPreviewBytes = 2 * kKiB;
inline constexpr std::size_t kPayloadPageBytes = 64 * kKiB;

// The viewer's door (web/server).
inline constexpr std::size_t kWebConnections = 512;
inline constexpr std::size_t kWebConnectionsPerAddress = 64;
inline constexpr std::size_t kWebBodyBytes = 64 * kKiB;
inline constexpr std::size_t kWebTargetBytes = 8 * kKiB;
inline constexpr std::size_t kWebFields = 64;
inline constexpr std::int64_t kWebHandshakeMs = 10'000;
inline constexpr std::int64_t kWebHeadMs = 10'000;     // from its first byte to its empty line; the same for a body
inline constexpr std::int64_t kWebIdleMs = 60'000;     // between two requests
inline constexpr std::int64_t kWebAnswerMs = 60'000;   // until stele-query begins to answer
inline constexpr std::int64_t kWebStallMs = 20'000;    // a client that takes nothing of what waits for it
inline constexpr std::int64_t kWebPauseMs = 10'000;    // the channel stands still for slow clients at most this long
inline constexpr std::size_t kWebTailBytes = 1 * kMiB;      // waiting for one live tail; above it the tail is cut
inline constexpr std::size_t kWebPendingBytes = 32 * kMiB;  // waiting for all clients; above it the channel stands still
inline constexpr std::size_t kWebLoginsPerMinute = 10;      // per address
inline constexpr std::size_t kWebLoginAddresses = 4'096;

// The configuration.
inline constexpr std::size_t kConfigBytes = 1 * kMiB;
inline constexpr std::size_t kConfigList = 256;                 // texts in one list
inline constexpr std::uint64_t kReserveBytesMin = 256 * kKiB;   // store.reserve_bytes
inline constexpr std::uint64_t kReserveBytesDefaultMax = 64 * kMiB;
inline constexpr std::size_t kTokenCharactersMin = 16;          // a bearer token is a password for programs
inline constexpr std::size_t kIngestTlsBytes = 40 * kKiB;       // of a zone, as JSON: the configuration is one frame of 64 KiB

static_assert(kFrameRawBytes <= kBlockRawBytes);
static_assert(kMessageBytesDefault <= kMessageBytesCeiling);
static_assert(kBlockRecords % kTileLeaves == 0);
static_assert(kWebTargetBytes < kHttpHeaderBytes);
static_assert(kSourceRulesBytes < kChannelFrameBytes && kIngestTlsBytes < kChannelFrameBytes);
static_assert(kZoneListeners * (kListenerNameBytes + 12) + 16 < kChannelFrameBytes);
static_assert(kWebTailBytes < kWebPendingBytes);
static_assert(kStreamPauseBytes < kStreamQueueBytes && kStreamQueueBytes < kStreamQueuesBytes);

// Signed syslog (RFC 5848), of one receiver unless said otherwise; together about 20 MiB at worst.
inline constexpr std::size_t kSignedBlockBytes = 64 * kKiB;    // one Signature or Certificate Block message
inline constexpr std::size_t kSignedPayloadBytes = 16 * kKiB;  // a Payload Block, put together from its fragments
inline constexpr std::size_t kSignedFragments = 256;           // of one Payload Block
inline constexpr std::size_t kSignedPayloads = 2;              // being put together, of one source
inline constexpr std::size_t kSignedPayloadsBytes = 1 * kMiB;  // likewise of all sources
inline constexpr std::size_t kSignedKeysPerHost = 4;           // registered with the same host, tried one after the other
inline constexpr std::size_t kSignedSessionKeys = 8;           // reboot sessions whose key is known, of one source
inline constexpr unsigned kSignedChecksPerSecond = 400;        // DSA verifications, 0.1 to 0.3 ms each
inline constexpr unsigned kSignedChecksPerSourceSecond = 100;

inline constexpr std::size_t kSignedSources = 512;             // with a valid block: their messages are compared
inline constexpr std::size_t kSignedCandidates = 512;          // that only name a host with a registered key
inline constexpr std::size_t kSignedCandidateMessages = 128;   // remembered of one of them
inline constexpr std::size_t kSignedMessages = 8'192;          // remembered of one source
inline constexpr std::size_t kSignedMessagesAll = 65'536;
inline constexpr std::size_t kSignedExpected = 1'024;          // listed hashes of one source that no message fits yet
inline constexpr std::size_t kSignedSessions = 16;             // numberings followed, of one source
inline constexpr std::size_t kSignedGroups = 192;              // Signature Groups of one session: one per priority
inline constexpr std::size_t kSignedGroupsAll = 1'024;
inline constexpr std::size_t kSignedNumbers = 1'024;           // message numbers remembered of one group
inline constexpr std::size_t kSignedGaps = 64;                 // of one group
inline constexpr std::size_t kSignedRanges = 16;               // of message numbers, named in one alarm
inline constexpr unsigned kSignedRepeats = 16;                 // of blocks with nothing new: then it is a replay

inline constexpr std::int64_t kSignedGraceMs = 10'000;         // from a block to the last message it lists
inline constexpr std::int64_t kSignedListMs = 120'000;         // from a message to the block that lists it
inline constexpr std::int64_t kSignedQuietMs = 3'600'000;      // a source that is forgotten when room is needed

static_assert(kSignedMessages <= kSignedMessagesAll && kSignedGroups <= kSignedGroupsAll);
static_assert(kSignedChecksPerSourceSecond < kSignedChecksPerSecond);

}  // namespace stele::limits
