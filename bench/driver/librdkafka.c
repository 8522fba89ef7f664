/* The steps driven through librdkafka's C interface.
 *
 * They do as little as they can per record, so that the broker is what is measured: payloads are neither copied nor
 * freed, records are handed over a batch at a time, only failed deliveries are reported, and consumed records are
 * counted in librdkafka's own callback.
 */
#define _GNU_SOURCE
#include "librdkafka.h"
#include "driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define CHUNK_RECORDS_MAX 20000
#define STAMP_SIZE sizeof(int64_t)

static char *payloads[PAYLOAD_COUNT];
static int64_t failed_count;
static int64_t consumed_count, consumed_bytes;

/* ---- clients ---- */

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char why[512];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why)) die(name, why);
}

static void set_number(rd_kafka_conf_t *conf, const char *name, long value) {
    char text[32];
    snprintf(text, sizeof text, "%ld", value);
    set(conf, name, text);
}

static void on_failure(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
    (void)rk, (void)opaque;
    if (message->err && failed_count++ == 0) fprintf(stderr, "driver: delivery: %s\n", rd_kafka_err2str(message->err));
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque) {
    (void)rk, (void)opaque;
    fprintf(stderr, "driver: %s: %s\n", rd_kafka_err2str(err), reason);
}

static rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
    char why[512];
    set(conf, "bootstrap.servers", opt.bootstrap);
    set(conf, "socket.nagle.disable", "true");
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof why);
    if (!client) die("client", why);
    return client;
}

typedef void (*delivered_callback)(rd_kafka_t *, const rd_kafka_message_t *, void *);

static rd_kafka_t *producer_new(bool report_all, delivered_callback delivered) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "acks", opt.acks);
    set(conf, "enable.idempotence", opt.idempotence ? "true" : "false");
    set(conf, "compression.type", opt.codec);
    set_number(conf, "linger.ms", opt.linger_ms);
    set_number(conf, "batch.size", opt.batch_size);
    set_number(conf, "batch.num.messages", 1000000);
    set_number(conf, "message.max.bytes", 1048588);      /* Kafka's own default for a topic's max.message.bytes */
    set_number(conf, "max.in.flight.requests.per.connection", opt.in_flight);
    set_number(conf, "queue.buffering.max.kbytes", 65536);
    set_number(conf, "queue.buffering.max.messages", 1000000);
    set_number(conf, "message.timeout.ms", STALL_SECONDS * 1000);
    if (!report_all) set(conf, "delivery.report.only.error", "true");
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    return client_new(RD_KAFKA_PRODUCER, conf);
}

static rd_kafka_topic_t *topic_new(rd_kafka_t *client) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, opt.topic, NULL);
    if (!topic) die(opt.topic, rd_kafka_err2str(rd_kafka_last_error()));
    return topic;
}

static void flush_all(rd_kafka_t *producer) {
    int64_t end = now_ns() + STALL_SECONDS * 1000000000LL;
    while (rd_kafka_outq_len(producer) > 0) {
        rd_kafka_flush(producer, 1000);
        if (now_ns() > end) die("flush", "records are still waiting");
    }
}

static void make_payloads(void) {
    uint64_t state = 88172645463325252ULL; /* xorshift: the same letters in every run */
    for (int i = 0; i < PAYLOAD_COUNT; i++) {
        payloads[i] = malloc(opt.size);
        for (size_t j = 0; j < opt.size; j++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            payloads[i][j] = 'A' + (state >> 11) % 26;
        }
    }
}

/* One acknowledged record per partition: afterwards connection, metadata and producer id are in place. */
static void warm_up(rd_kafka_t *producer, rd_kafka_topic_t *topic) {
    for (int p = 0; p < opt.partitions; p++)
        if (rd_kafka_produce(topic, p, 0, payloads[0], opt.size, NULL, 0, NULL)) die("warm-up", rd_kafka_err2str(rd_kafka_last_error()));
    flush_all(producer);
    if (failed_count) die("warm-up", "not delivered");
}

/* ---- produce ---- */

int run_produce(void) {
    make_payloads();
    rd_kafka_t *producer = producer_new(false, on_failure);
    rd_kafka_topic_t *topic = topic_new(producer);
    int64_t per_batch = opt.batch_size / (opt.size + 16);
    int chunk = per_batch < 1 ? 1 : per_batch > CHUNK_RECORDS_MAX ? CHUNK_RECORDS_MAX : (int)per_batch;
    rd_kafka_message_t *messages = calloc(chunk, sizeof *messages);
    warm_up(producer, topic);

    struct usage start = usage_now();
    int partition = 0;
    for (int64_t sent = 0; sent < opt.records;) {
        int count = opt.records - sent < chunk ? (int)(opt.records - sent) : chunk;
        for (int i = 0; i < count; i++)
            messages[i] = (rd_kafka_message_t){.payload = payloads[(sent + i) % PAYLOAD_COUNT], .len = opt.size};
        for (int left = count; left > 0;) {
            int taken = rd_kafka_produce_batch(topic, partition, 0, messages + (count - left), left);
            left -= taken;
            rd_kafka_poll(producer, left > 0 ? 1 : 0); /* the queue is full: let it drain */
        }
        sent += count;
        partition = (partition + 1) % opt.partitions;
    }
    flush_all(producer);
    struct usage end = usage_now();

    printf("{\"records\":%ld,\"bytes\":%ld,\"in_topic\":%ld,\"failed\":%ld,", (long)opt.records, (long)(opt.records * opt.size),
           (long)(opt.records + opt.partitions), (long)failed_count);
    print_usage(start, end);
    printf("}\n");
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    return failed_count > 0;
}

/* ---- consume ---- */

static void on_consumed(rd_kafka_message_t *message, void *opaque) {
    (void)opaque;
    if (message->err == 0) {
        consumed_count++;
        consumed_bytes += message->len;
    } else if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        die("consume", rd_kafka_err2str(message->err));
    }
}

static rd_kafka_t *consumer_new(void) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "fetch.message.max.bytes", opt.fetch_size);
    set(conf, "queued.max.messages.kbytes", "65536");
    set(conf, "enable.auto.commit", "false");
    return client_new(RD_KAFKA_CONSUMER, conf);
}

static void start_consuming(rd_kafka_topic_t *topic, rd_kafka_queue_t *queue, int64_t offset) {
    for (int p = 0; p < opt.partitions; p++)
        if (rd_kafka_consume_start_queue(topic, p, offset, queue)) die("consume", rd_kafka_err2str(rd_kafka_last_error()));
}

/* The window opens when the first records are here, and they are not counted: finding the leader and librdkafka's
 * first fetch take half a second whatever the broker does. */
int run_consume(void) {
    rd_kafka_t *consumer = consumer_new();
    rd_kafka_topic_t *topic = topic_new(consumer);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer);
    int64_t asked = now_ns(), progress = asked, first = 0, before = 0, first_count = 0, first_bytes = 0;
    struct usage start = {0};
    start_consuming(topic, queue, RD_KAFKA_OFFSET_BEGINNING);
    while (consumed_count < opt.records) {
        rd_kafka_consume_callback_queue(queue, 200, on_consumed, NULL);
        if (consumed_count == before) {
            if (now_ns() - progress > STALL_SECONDS * 1000000000LL) break;
            continue;
        }
        before = consumed_count;
        progress = now_ns();
        if (first) continue;
        start = usage_now();
        first = progress, first_count = consumed_count, first_bytes = consumed_bytes;
    }
    struct usage end = usage_now();
    printf("{\"records\":%ld,\"bytes\":%ld,\"missing\":%ld,\"first_ms\":%.3f,", (long)(consumed_count - first_count),
           (long)(consumed_bytes - first_bytes), (long)(opt.records - consumed_count), (first - asked) / 1e6);
    print_usage(start, end);
    printf("}\n");
    fflush(stdout);
    _exit(consumed_count < opt.records); /* leaving the fetchers in an orderly way takes as long as their long poll */
}

/* ---- one record, wait ---- */

static volatile int delivered_count;

static void on_delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
    on_failure(rk, message, opaque);
    delivered_count++;
}

int run_rtt(void) {
    make_payloads();
    const int64_t unrecorded = 200; /* the first ones settle caches, JIT and congestion window */
    rd_kafka_t *producer = producer_new(true, on_delivered);
    rd_kafka_topic_t *topic = topic_new(producer);
    struct latencies l = latencies_new(opt.records);
    struct usage start = {0};
    warm_up(producer, topic);
    for (int64_t i = 0; i < opt.records + unrecorded; i++) {
        if (i == unrecorded) start = usage_now();
        int64_t sent = now_ns();
        delivered_count = 0;
        if (rd_kafka_produce(topic, 0, 0, payloads[i % PAYLOAD_COUNT], opt.size, NULL, 0, NULL)) die("produce", rd_kafka_err2str(rd_kafka_last_error()));
        while (!delivered_count) rd_kafka_poll(producer, 1000);
        if (failed_count) die("produce", "not delivered");
        if (i >= unrecorded) latency_add(&l, now_ns() - sent);
    }
    struct usage end = usage_now();
    printf("{");
    print_latencies(&l);
    print_usage(start, end);
    printf("}\n");
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    return 0;
}

/* ---- end to end at a fixed rate ---- */

static struct latencies arrivals;
static int64_t arrived_count;
static volatile int64_t record_from_ns; /* what was sent before is not recorded */
static volatile bool reader_ready, reader_stop;

static void on_arrival(rd_kafka_message_t *message, void *opaque) {
    (void)opaque;
    int64_t stamp;
    if (message->err || message->len < STAMP_SIZE) return;
    memcpy(&stamp, message->payload, STAMP_SIZE);
    if (stamp == 0) {
        reader_ready = true; /* sent only to see that the reader is in place */
    } else {
        arrived_count++;
        if (stamp >= record_from_ns) latency_add(&arrivals, now_ns() - stamp);
    }
}

static void *read_arrivals(void *argument) {
    (void)argument;
    rd_kafka_t *consumer = consumer_new();
    rd_kafka_topic_t *topic = topic_new(consumer);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer);
    start_consuming(topic, queue, RD_KAFKA_OFFSET_BEGINNING);
    while (!reader_stop) rd_kafka_consume_callback_queue(queue, 100, on_arrival, NULL);
    return NULL;
}

static void await_reader(rd_kafka_t *producer, rd_kafka_topic_t *topic) {
    static char zero_stamp[STAMP_SIZE];
    int64_t end = now_ns() + STALL_SECONDS * 1000000000LL;
    while (!reader_ready) {
        rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, zero_stamp, STAMP_SIZE, NULL, 0, NULL);
        rd_kafka_poll(producer, 0);
        usleep(20000);
        if (now_ns() > end) die("e2e", "the reader saw nothing");
    }
}

int run_e2e(void) {
    make_payloads();
    int64_t settle = opt.rate, total = settle + (int64_t)opt.rate * opt.seconds; /* the first second is not recorded */
    arrivals = latencies_new(total);
    prctl(PR_SET_TIMERSLACK, 1000);
    rd_kafka_t *producer = producer_new(false, on_failure);
    rd_kafka_topic_t *topic = topic_new(producer);
    pthread_t reader;
    pthread_create(&reader, NULL, read_arrivals, NULL);
    await_reader(producer, topic);

    char *record = malloc(opt.size < STAMP_SIZE ? STAMP_SIZE : opt.size);
    memcpy(record, payloads[0], opt.size);
    int64_t begin = now_ns() + 10000000;
    record_from_ns = begin + settle * 1000000000 / opt.rate;
    struct usage start = {0};
    for (int64_t i = 0; i < total; i++) {
        sleep_until(begin + i * 1000000000 / opt.rate);
        if (i == settle) start = usage_now();
        int64_t stamp = now_ns();
        memcpy(record, &stamp, STAMP_SIZE);
        if (rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, record, opt.size, NULL, 0, NULL)) failed_count++;
        if (i % 64 == 0) rd_kafka_poll(producer, 0);
    }
    flush_all(producer);
    int64_t end_wait = now_ns() + 5000000000LL;
    while (arrived_count < total - failed_count && now_ns() < end_wait) usleep(10000);
    struct usage end = usage_now();
    reader_stop = true;
    pthread_join(reader, NULL);

    printf("{\"missing\":%ld,\"failed\":%ld,", (long)(total - arrived_count), (long)failed_count);
    print_latencies(&arrivals);
    print_usage(start, end);
    printf("}\n");
    fflush(stdout);
    _exit(failed_count > 0 || arrived_count < total);
}
