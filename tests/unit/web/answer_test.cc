// Goal: the security fields are exactly these, on every answer.
#include "web/server/answer.h"

#include <gtest/gtest.h>

namespace stele::web {
namespace {

constexpr std::int64_t kWhenNs = 784'111'777'000'000'000;  // RFC 9110's own example of a date

TEST(Answer, DatesAreImfFixdates) {
  //= RFC 9110 section 5.6.7
  //# Sun, 06 Nov 1994 08:49:37 GMT    ; IMF-fixdate
  EXPECT_EQ(FormatHttpDate(kWhenNs), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(FormatHttpDate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(FormatHttpDate(1'709'164'800'000'000'000), "Thu, 29 Feb 2024 00:00:00 GMT");
}

TEST(Answer, TheHeadIsExactlyThis) {
  AnswerHead head;
  head.content_type = "application/json";
  head.length = 2;
  EXPECT_EQ(FormatHead(head, kWhenNs),
            "HTTP/1.1 200 OK\r\n"
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'\r\n"
            "Cross-Origin-Opener-Policy: same-origin\r\n"
            "Cross-Origin-Embedder-Policy: require-corp\r\n"
            "Cross-Origin-Resource-Policy: same-origin\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "Referrer-Policy: no-referrer\r\n"
            "Permissions-Policy: accelerometer=(), autoplay=(), camera=(), clipboard-read=(), "
            "display-capture=(), encrypted-media=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), "
            "magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-get=(), screen-wake-lock=(), "
            "serial=(), usb=(), xr-spatial-tracking=()\r\n"
            "Strict-Transport-Security: max-age=31536000\r\n"
            "Cache-Control: no-store\r\n"
            "Content-Type: application/json\r\n"
            "Content-Length: 2\r\n\r\n");
}

TEST(Answer, ADownloadIsSandboxedAndLocalhostIsNotPinned) {
  AnswerHead head;
  head.download = true;
  head.localhost = true;
  head.close = true;
  const std::string text = FormatHead(head, kWhenNs);
  EXPECT_NE(text.find("trusted-types 'none'; sandbox\r\n"), std::string::npos);
  EXPECT_NE(text.find("Strict-Transport-Security: max-age=0\r\n"), std::string::npos);
  EXPECT_NE(text.find("Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"), std::string::npos);
  EXPECT_EQ(text.find("Content-Length"), std::string::npos);
}

TEST(Answer, ChunksAndErrorsHaveTheirForms) {
  EXPECT_EQ(FormatChunk(AsBytes("0123456789abcdef")), "10\r\n0123456789abcdef\r\n");
  EXPECT_EQ(ErrorBody("bad_request", "a \"b\" \xff"),
            "{\"error\":{\"code\":\"bad_request\",\"message\":\"a \\\"b\\\" \xef\xbf\xbd\"}}");
}

}  // namespace
}  // namespace stele::web
