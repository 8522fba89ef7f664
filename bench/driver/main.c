/* The load driver: one step a run, one JSON line on standard output.
 *
 *   driver produce  --bootstrap H:P --topic T --partitions P --records N --size S --batch-size B --acks all|1
 *                   --codec none|lz4|zstd|gzip|snappy --linger-ms L [--idempotence] [--broker-pid PID]
 *   driver consume  ... --records N [--fetch-size BYTES]     every partition from its beginning, by assignment
 *   driver rtt      ... --records N                          one record, wait for its acknowledgement, again
 *   driver e2e      ... --rate R --seconds S                 paced records to a consumer in this same process
 *   driver wire-produce ... --batch-file FILE                ready-made batches, see wire.c
 *   driver wire-consume ... --records N
 *
 * The first four use librdkafka, the wire steps a socket and nothing else.
 *
 * What is measured starts after connection, metadata and producer id are there, and ends with the last
 * acknowledgement or record. Over exactly that window it also reads the CPU seconds of itself, of the broker
 * (--broker-pid) and of the whole machine, so that the reader sees who took the cores.
 */
#define _GNU_SOURCE
#include "driver.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct options opt;

void die(const char *what, const char *why) {
    fprintf(stderr, "driver: %s: %s\n", what, why);
    exit(1);
}

int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void sleep_until(int64_t due_ns) {
    struct timespec t = {due_ns / 1000000000, due_ns % 1000000000};
    while (now_ns() < due_ns) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* ---- CPU seconds of this process, the broker and the machine ---- */

/* To the nanosecond: /proc/PID/stat counts in hundredths of a second, 4 % of a short run. */
static double process_cpu_seconds(int pid) {
    clockid_t clock;
    struct timespec t;
    if (pid <= 0) return 0;
    int error = clock_getcpuclockid(pid, &clock);
    if (error || clock_gettime(clock, &t)) die("the broker's CPU time cannot be read", strerror(error ? error : errno));
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double machine_busy_seconds(void) {
    unsigned long long v[8] = {0};
    FILE *f = fopen("/proc/stat", "r");
    if (!f) return 0;
    int n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]);
    fclose(f);
    if (n != 8) die("/proc/stat", "cannot be read");
    return (double)(v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / sysconf(_SC_CLK_TCK); /* all but idle and iowait */
}

struct usage usage_now(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    double client = r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
    return (struct usage){now_ns() / 1e9, client, process_cpu_seconds(opt.broker_pid), machine_busy_seconds()};
}

void print_usage(struct usage start, struct usage end) {
    printf("\"seconds\":%.6f,\"client_cpu_s\":%.6f,\"broker_cpu_s\":%.6f,\"busy_cpu_s\":%.4f", end.clock_s - start.clock_s,
           end.client_s - start.client_s, end.broker_s - start.broker_s, end.busy_s - start.busy_s);
}

/* ---- latencies ---- */

struct latencies latencies_new(int64_t capacity) {
    return (struct latencies){malloc(capacity * sizeof(int64_t)), 0, capacity};
}

void latency_add(struct latencies *l, int64_t ns) {
    if (l->count < l->capacity) l->ns[l->count++] = ns;
}

static int compare_ns(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static double quantile_us(const struct latencies *l, double q) {
    int64_t i = (int64_t)(q * l->count);
    return l->ns[i < l->count ? i : l->count - 1] / 1e3;
}

void print_latencies(struct latencies *l) {
    if (l->count == 0) die("latency", "no record came back");
    qsort(l->ns, l->count, sizeof *l->ns, compare_ns);
    double sum = 0;
    for (int64_t i = 0; i < l->count; i++) sum += l->ns[i];
    printf("\"samples\":%ld,\"mean_us\":%.1f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,",
           (long)l->count, sum / l->count / 1e3, quantile_us(l, 0.5), quantile_us(l, 0.9), quantile_us(l, 0.99),
           quantile_us(l, 0.999), l->ns[l->count - 1] / 1e3);
}

/* ---- options ---- */

static const struct option long_options[] = {
    {"bootstrap", 1, 0, 'b'}, {"topic", 1, 0, 't'},       {"partitions", 1, 0, 'p'}, {"records", 1, 0, 'n'},
    {"size", 1, 0, 's'},      {"batch-size", 1, 0, 'B'},  {"acks", 1, 0, 'a'},       {"codec", 1, 0, 'c'},
    {"linger-ms", 1, 0, 'l'}, {"idempotence", 0, 0, 'i'}, {"broker-pid", 1, 0, 'P'}, {"rate", 1, 0, 'r'},
    {"seconds", 1, 0, 'S'},   {"fetch-size", 1, 0, 'f'},  {"in-flight", 1, 0, 'F'},  {"batch-file", 1, 0, 'w'},
    {0, 0, 0, 0}};

static void parse(int argc, char **argv) {
    opt = (struct options){.bootstrap = "127.0.0.1:9092", .topic = "bench", .acks = "all", .codec = "none", .fetch_size = "1048576",
                           .partitions = 1, .linger_ms = 5, .rate = 1000, .seconds = 10, .records = 1000, .size = 1024,
                           .batch_size = 16384, .in_flight = 5};
    for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;) switch (c) {
        case 'b': opt.bootstrap = optarg; break;
        case 't': opt.topic = optarg; break;
        case 'p': opt.partitions = atoi(optarg); break;
        case 'n': opt.records = atoll(optarg); break;
        case 's': opt.size = strtoul(optarg, NULL, 10); break;
        case 'B': opt.batch_size = strtoul(optarg, NULL, 10); break;
        case 'a': opt.acks = optarg; break;
        case 'c': opt.codec = optarg; break;
        case 'l': opt.linger_ms = atoi(optarg); break;
        case 'i': opt.idempotence = true; break;
        case 'P': opt.broker_pid = atoi(optarg); break;
        case 'r': opt.rate = atoi(optarg); break;
        case 'S': opt.seconds = atoi(optarg); break;
        case 'f': opt.fetch_size = optarg; break;
        case 'F': opt.in_flight = atoi(optarg); break;
        case 'w': opt.batch_file = optarg; break;
        default: exit(2);
    }
    if (opt.partitions < 1 || opt.records < 1 || opt.size < sizeof(int64_t) || opt.rate < 1 || opt.seconds < 1 || opt.in_flight < 1)
        die("options", "partitions, records, rate, seconds and in-flight are at least 1, size at least 8");
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(void);
    } steps[] = {{"produce", run_produce}, {"consume", run_consume}, {"rtt", run_rtt}, {"e2e", run_e2e},
                 {"wire-produce", run_wire_produce}, {"wire-consume", run_wire_consume}};
    if (argc < 2) die("usage", "driver produce|consume|rtt|e2e|wire-produce|wire-consume [OPTIONS]");
    parse(argc - 1, argv + 1);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (!strcmp(argv[1], steps[i].name)) return steps[i].run();
    die(argv[1], "unknown step");
}
