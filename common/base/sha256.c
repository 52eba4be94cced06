#include "common/base/sha256.h"

#include "common/base/mem.h"

#include <openssl/evp.h>
#include <string.h>

struct sha256 {
    EVP_MD_CTX *context;
};

struct sha256 *sha256_new(void)
{
    struct sha256 *s = mem_new(sizeof *s);
    if (!s) {
        return NULL;
    }
    s->context = EVP_MD_CTX_new();
    if (!s->context || EVP_DigestInit_ex(s->context, EVP_sha256(), NULL) != 1) {
        sha256_free(s);
        return NULL;
    }
    return s;
}

void sha256_free(struct sha256 *s)
{
    if (s) {
        EVP_MD_CTX_free(s->context);
        mem_free(s);
    }
}

void sha256_add(struct sha256 *s, const void *data, size_t length)
{
    CHECK(EVP_DigestUpdate(s->context, data, length) == 1);
}

void sha256_finish(struct sha256 *s, uint8_t ret_digest[SHA256_BYTES])
{
    unsigned length = 0;
    CHECK(EVP_DigestFinal_ex(s->context, ret_digest, &length) == 1 && length == SHA256_BYTES);
}

void sha256_of(const void *data, size_t length, uint8_t ret_digest[SHA256_BYTES])
{
    unsigned written = 0;
    CHECK(EVP_Digest(data, length, ret_digest, &written, EVP_sha256(), NULL) == 1);
}

char *sha256_hex(const uint8_t digest[SHA256_BYTES], char out[SHA256_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[2 * SHA256_BYTES] = '\0';
    return out;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int sha256_from_hex(const char *text, uint8_t ret_digest[SHA256_BYTES])
{
    uint8_t digest[SHA256_BYTES];
    if (strlen(text) != (size_t)2 * SHA256_BYTES) {
        return ERR_PARSE;
    }
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        int high = hex_value(text[2 * i]);
        int low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return ERR_PARSE;
        }
        digest[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret_digest, digest, SHA256_BYTES);
    return 0;
}
