/* What the steps of the load driver share: options, what is measured, how a run ends. */
#ifndef KLAMM_BENCH_DRIVER_H
#define KLAMM_BENCH_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Letters as Kafka's own perf tool sends them: 4.7 bits of entropy a byte, so that codecs have real work. */
#define PAYLOAD_COUNT 256
/* A step in which nothing arrives for this long has failed: it must end, not hang the bench. */
#define STALL_SECONDS 30

struct options {
    const char *bootstrap, *topic, *acks, *codec, *fetch_size, *batch_file;
    int partitions, broker_pid, linger_ms, rate, seconds, in_flight;
    int64_t records;
    size_t size, batch_size;
    bool idempotence;
};

/* Seconds of: the monotonic clock; CPU of this process, of the broker, of the whole machine. */
struct usage {
    double clock_s, client_s, broker_s, busy_s;
};

struct latencies {
    int64_t *ns;
    int64_t count, capacity;
};

extern struct options opt;

void die(const char *what, const char *why) __attribute__((noreturn));
int64_t now_ns(void);
void sleep_until(int64_t due_ns);

struct usage usage_now(void);
void print_usage(struct usage start, struct usage end);
struct latencies latencies_new(int64_t capacity);
void latency_add(struct latencies *l, int64_t ns);
void print_latencies(struct latencies *l);

/* librdkafka.c */
int run_produce(void);
int run_consume(void);
int run_rtt(void);
int run_e2e(void);
/* wire.c */
int run_wire_produce(void);
int run_wire_consume(void);

#endif
