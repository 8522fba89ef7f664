/* The steps driven over a bare socket: what the broker can do when the client costs next to nothing.
 *
 * wire-produce sends one ready-made record batch (--batch-file, written by bench/batches.py) again and again, one
 * connection, at most --in-flight requests unanswered, the partitions in turn: Produce v8. With --idempotence it asks
 * for a producer id and gives every batch its sequence number and checksum, as a client must. wire-consume fetches
 * all partitions in each request (Fetch v11), reads batch headers only and asks for what follows.
 *
 * librdkafka cannot do the first of these cheaply: with idempotence and five requests in flight its broker thread
 * polls without sleeping, which takes a whole core.
 */
#define _GNU_SOURCE
#include "driver.h"

#include <arpa/inet.h>
#include <endian.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#define BATCH_HEADER_SIZE 61
#define AT_BATCH_LENGTH 8
#define AT_CRC 17
#define AT_ATTRIBUTES 21
#define AT_LAST_OFFSET_DELTA 23
#define AT_PRODUCER_ID 43
#define AT_PRODUCER_EPOCH 51
#define AT_BASE_SEQUENCE 53
#define AT_RECORD_COUNT 57
#define PARTITIONS_MAX 4096
#define RESPONSE_SIZE_MAX (64 << 20)
#define RETRY_US 20000
#define FETCH_BYTES_MAX 52428800 /* the Java consumer's default */

enum { PRODUCE = 0, FETCH = 1, INIT_PRODUCER_ID = 22 };

struct request {
    char bytes[1024 + PARTITIONS_MAX * 32];
    size_t size;
};

static int connection;
static int32_t correlation_id;

/* ---- big-endian fields ---- */

static void put_i16(struct request *r, int16_t v) { v = htobe16(v), memcpy(r->bytes + r->size, &v, 2), r->size += 2; }
static void put_i32(struct request *r, int32_t v) { v = htobe32(v), memcpy(r->bytes + r->size, &v, 4), r->size += 4; }
static void put_i64(struct request *r, int64_t v) { v = htobe64(v), memcpy(r->bytes + r->size, &v, 8), r->size += 8; }

static void put_string(struct request *r, const char *text) {
    size_t size = strlen(text);
    put_i16(r, size);
    memcpy(r->bytes + r->size, text, size);
    r->size += size;
}

static int16_t i16_at(const char *p) { int16_t v; memcpy(&v, p, 2); return be16toh(v); }
static int32_t i32_at(const char *p) { int32_t v; memcpy(&v, p, 4); return be32toh(v); }
static int64_t i64_at(const char *p) { int64_t v; memcpy(&v, p, 8); return be64toh(v); }

/* ---- CRC-32C ---- */

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c(const char *p, size_t size) {
    uint64_t crc = 0xffffffff, word;
    for (; size >= 8; p += 8, size -= 8) memcpy(&word, p, 8), crc = _mm_crc32_u64(crc, word);
    for (; size > 0; p++, size--) crc = _mm_crc32_u8(crc, *p);
    return ~(uint32_t)crc;
}
#else
static uint32_t crc32c(const char *p, size_t size) {
    uint32_t crc = 0xffffffff;
    for (; size > 0; p++, size--) {
        crc ^= (uint8_t)*p;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82f63b78 & -(crc & 1));
    }
    return ~crc;
}
#endif

/* ---- the connection ---- */

static void connect_broker(void) {
    char host[256];
    snprintf(host, sizeof host, "%s", opt.bootstrap);
    char *port = strrchr(host, ':');
    if (!port) die(host, "is not host:port");
    *port++ = 0;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, port, &hints, &found)) die(host, "cannot be resolved");
    connection = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(connection, found->ai_addr, found->ai_addrlen)) die(opt.bootstrap, "refuses the connection");
    freeaddrinfo(found);
    int on = 1;
    struct timeval stall = {STALL_SECONDS, 0};
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof stall);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof stall);
}

static void write_all(struct iovec *parts, int count) {
    while (count > 0) {
        ssize_t n = writev(connection, parts, count);
        if (n <= 0) die("send", "the broker takes nothing");
        for (; count > 0 && (size_t)n >= parts->iov_len; parts++, count--) n -= parts->iov_len;
        if (count > 0) parts->iov_base = (char *)parts->iov_base + n, parts->iov_len -= n;
    }
}

static void read_all(char *into, size_t size) {
    while (size > 0) {
        ssize_t n = recv(connection, into, size, 0);
        if (n <= 0) die("receive", "the broker closed the connection or says nothing");
        into += n, size -= n;
    }
}

static void begin(struct request *r, int16_t key, int16_t version) {
    r->size = 4; /* the length comes last */
    put_i16(r, key);
    put_i16(r, version);
    put_i32(r, ++correlation_id);
    put_string(r, "klamm-bench");
}

static void send_request(struct request *r, struct iovec *body) {
    int32_t length = htobe32(r->size - 4 + (body ? body->iov_len : 0));
    memcpy(r->bytes, &length, 4);
    struct iovec parts[2] = {{r->bytes, r->size}};
    if (body) parts[1] = *body;
    write_all(parts, body ? 2 : 1);
}

/* Reads one response into memory that is used again for the next; returns it after its correlation id. */
static char *receive_response(size_t *size) {
    static char *response;
    static size_t capacity;
    char length_bytes[4];
    read_all(length_bytes, 4);
    *size = i32_at(length_bytes);
    if (*size < 4 || *size > RESPONSE_SIZE_MAX) die("response", "has no sensible length");
    if (*size > capacity) {
        free(response);
        capacity = *size * 2;
        response = malloc(capacity);
    }
    read_all(response, *size);
    *size -= 4;
    return response + 4;
}

static void check(int16_t error, const char *where) {
    char text[32];
    snprintf(text, sizeof text, "error code %d", error);
    if (error) die(where, text);
}

/* ---- produce ---- */

static char *read_batch(size_t *size) {
    FILE *f = opt.batch_file ? fopen(opt.batch_file, "rb") : NULL;
    if (!f) die("--batch-file", "cannot be opened");
    fseek(f, 0, SEEK_END);
    *size = ftell(f);
    rewind(f);
    char *batch = malloc(*size);
    if (*size <= BATCH_HEADER_SIZE || fread(batch, 1, *size, f) != *size) die(opt.batch_file, "is no record batch");
    fclose(f);
    return batch;
}

/* What a broker says that has just started or just made the topic; any client asks again then. */
static bool is_settling(int16_t error) { return error == 3 || error == 5 || error == 6 || error == 14; }

static void stamp_producer(char *batch) {
    int64_t end = now_ns() + STALL_SECONDS * 1000000000LL;
    for (;;) {
        struct request r;
        size_t size;
        begin(&r, INIT_PRODUCER_ID, 1);
        put_i16(&r, -1); /* no transactional id */
        put_i32(&r, 60000);
        send_request(&r, NULL);
        char *answer = receive_response(&size);
        int16_t error = i16_at(answer + 4);
        if (!is_settling(error) || now_ns() > end) {
            check(error, "InitProducerId");
            memcpy(batch + AT_PRODUCER_ID, answer + 6, 10); /* producer id and epoch, as they stand */
            return;
        }
        usleep(RETRY_US);
    }
}

static void send_batch(char *batch, size_t size, int partition, int32_t sequence) {
    static struct request r;
    if (opt.idempotence) {
        uint32_t crc;
        sequence = htobe32(sequence);
        memcpy(batch + AT_BASE_SEQUENCE, &sequence, 4);
        crc = htobe32(crc32c(batch + AT_ATTRIBUTES, size - AT_ATTRIBUTES));
        memcpy(batch + AT_CRC, &crc, 4);
    }
    begin(&r, PRODUCE, 8);
    put_i16(&r, -1);
    put_i16(&r, strcmp(opt.acks, "all") ? atoi(opt.acks) : -1);
    put_i32(&r, STALL_SECONDS * 1000);
    put_i32(&r, 1);
    put_string(&r, opt.topic);
    put_i32(&r, 1);
    put_i32(&r, partition);
    put_i32(&r, size);
    send_request(&r, &(struct iovec){batch, size});
}

static int16_t receive_acknowledgement(void) {
    size_t size;
    char *answer = receive_response(&size);
    int16_t name_size = i16_at(answer + 4);
    return i16_at(answer + 4 + 2 + name_size + 4 + 4);
}

/* One acknowledged batch in every partition. */
static void warm_up(char *batch, size_t size, int32_t *sequences) {
    int64_t end = now_ns() + STALL_SECONDS * 1000000000LL;
    for (int partition = 0; partition < opt.partitions;) {
        send_batch(batch, size, partition, 0);
        int16_t error = receive_acknowledgement();
        if (is_settling(error) && now_ns() < end) {
            usleep(RETRY_US);
            continue;
        }
        check(error, "Produce, first batch");
        sequences[partition++] = i32_at(batch + AT_RECORD_COUNT);
    }
}

int run_wire_produce(void) {
    static int32_t sequences[PARTITIONS_MAX];
    size_t size;
    char *batch = read_batch(&size);
    int32_t per_batch = i32_at(batch + AT_RECORD_COUNT);
    int64_t batches = (opt.records + per_batch - 1) / per_batch;
    if (opt.partitions > PARTITIONS_MAX) die("--partitions", "are too many");
    connect_broker();
    if (opt.idempotence) stamp_producer(batch);

    warm_up(batch, size, sequences);

    struct usage start = usage_now();
    int unanswered = 0;
    for (int64_t sent = 0; sent < batches; sent++) {
        int partition = sent % opt.partitions;
        if (unanswered == opt.in_flight) check(receive_acknowledgement(), "Produce"), unanswered--;
        send_batch(batch, size, partition, sequences[partition]);
        sequences[partition] = (sequences[partition] + (int64_t)per_batch) & 0x7fffffff;
        unanswered++;
    }
    for (; unanswered > 0; unanswered--) check(receive_acknowledgement(), "Produce");
    struct usage end = usage_now();

    printf("{\"records\":%ld,\"bytes\":%ld,\"in_topic\":%ld,\"failed\":0,", (long)(batches * per_batch),
           (long)(batches * per_batch * opt.size), (long)((batches + opt.partitions) * per_batch));
    print_usage(start, end);
    printf("}\n");
    return 0;
}

/* ---- consume ---- */

static void send_fetch(const int64_t *offsets) {
    static struct request r;
    begin(&r, FETCH, 11);
    put_i32(&r, -1);  /* not a replica */
    put_i32(&r, 500); /* max wait */
    put_i32(&r, 1);   /* min bytes */
    put_i32(&r, FETCH_BYTES_MAX);
    r.bytes[r.size++] = 0; /* read uncommitted */
    put_i32(&r, 0);        /* no fetch session */
    put_i32(&r, -1);
    put_i32(&r, 1);
    put_string(&r, opt.topic);
    put_i32(&r, opt.partitions);
    for (int p = 0; p < opt.partitions; p++) {
        put_i32(&r, p);
        put_i32(&r, -1); /* leader epoch unknown */
        put_i64(&r, offsets[p]);
        put_i64(&r, -1); /* no log start offset: not a follower */
        put_i32(&r, atoi(opt.fetch_size));
    }
    put_i32(&r, 0); /* nothing forgotten */
    put_string(&r, "");
    send_request(&r, NULL);
}

/* Counts the records in these batches and moves *offset past them; a last batch that is cut short is left. */
static int64_t count_records(const char *batches, int32_t size, int64_t *offset) {
    int64_t count = 0;
    while (size >= BATCH_HEADER_SIZE) {
        int32_t batch_size = i32_at(batches + AT_BATCH_LENGTH) + 12;
        if (batch_size > size) break;
        count += i32_at(batches + AT_RECORD_COUNT);
        *offset = i64_at(batches) + i32_at(batches + AT_LAST_OFFSET_DELTA) + 1;
        batches += batch_size, size -= batch_size;
    }
    return count;
}

static int64_t receive_fetched(int64_t *offsets) {
    size_t size;
    int64_t count = 0;
    char *p = receive_response(&size);
    check(i16_at(p + 4), "Fetch");
    p += 10;
    int32_t topics = i32_at(p);
    p += 4;
    for (int32_t t = 0; t < topics; t++) {
        p += 2 + i16_at(p);
        int32_t partitions = i32_at(p);
        p += 4;
        for (int32_t i = 0; i < partitions; i++) {
            int32_t partition = i32_at(p);
            check(i16_at(p + 4), "Fetch, partition");
            int32_t aborted = i32_at(p + 30);
            p += 34 + (aborted > 0 ? aborted * 16 : 0) + 4;
            int32_t records_size = i32_at(p);
            p += 4;
            if (partition < 0 || partition >= opt.partitions) die("Fetch", "names a partition nobody asked for");
            count += count_records(p, records_size, &offsets[partition]);
            p += records_size > 0 ? records_size : 0;
        }
    }
    return count;
}

int run_wire_consume(void) {
    static int64_t offsets[PARTITIONS_MAX];
    int64_t got = 0, progress = now_ns();
    if (opt.partitions > PARTITIONS_MAX) die("--partitions", "are too many");
    connect_broker();
    struct usage start = usage_now();
    while (got < opt.records) {
        send_fetch(offsets);
        int64_t count = receive_fetched(offsets);
        got += count;
        if (count) progress = now_ns();
        if (now_ns() - progress > STALL_SECONDS * 1000000000LL) die("Fetch", "nothing more comes");
    }
    struct usage end = usage_now();
    printf("{\"records\":%ld,\"bytes\":%ld,\"missing\":0,", (long)got, (long)(got * opt.size));
    print_usage(start, end);
    printf("}\n");
    return 0;
}
