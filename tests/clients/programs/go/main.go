// Two Go clients against one broker: franz-go and segmentio's kafka-go.
//
// Usage: clients franz|segmentio HOST:PORT TOPIC COUNT
//
// Each creates the topic, produces COUNT records, reads them back from partition 0 without a group, checks order and
// values, and prints "N produced, N consumed". Run by tests/clients/test_other_languages.py. The versions in go.mod are
// the last that build with the Go that Debian 12 has.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const deadline = 60 * time.Second

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: clients franz|segmentio HOST:PORT TOPIC COUNT")
	}
	count, err := strconv.Atoi(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	run := franz
	if os.Args[1] == "segmentio" {
		run = segmentio
	}
	consumed, err := run(ctx, os.Args[2], os.Args[3], count)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d produced, %d consumed\n", count, consumed)
}

// check fails unless number is the one that value names.
func check(value []byte, number int) error {
	if string(value) != fmt.Sprintf("value-%d", number) {
		return fmt.Errorf("record %d is %q", number, value)
	}
	return nil
}

func franz(ctx context.Context, bootstrap, topic string, count int) (int, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
	)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		return 0, err
	}
	for number := 0; number < count; number++ { // idempotent, acks=all: kgo's defaults
		client.Produce(ctx, &kgo.Record{Topic: topic, Value: []byte(fmt.Sprintf("value-%d", number))}, func(_ *kgo.Record, err error) {
			if err != nil {
				log.Fatal(err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return 0, err
	}
	consumed := 0
	for consumed < count {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return consumed, err
		}
		for _, failed := range fetches.Errors() {
			return consumed, failed.Err
		}
		for iterator := fetches.RecordIter(); !iterator.Done(); consumed++ {
			if err := check(iterator.Next().Value, consumed); err != nil {
				return consumed, err
			}
		}
	}
	return consumed, nil
}

func segmentio(ctx context.Context, bootstrap, topic string, count int) (int, error) {
	client := &kafka.Client{Addr: kafka.TCP(bootstrap)} // kafka.Conn would send CreateTopics 0, which Kafka 4 has dropped
	created, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}},
	})
	if err != nil {
		return 0, err
	}
	if err := created.Errors[topic]; err != nil {
		return 0, err
	}
	writer := &kafka.Writer{
		Addr: kafka.TCP(bootstrap), Topic: topic, RequiredAcks: kafka.RequireAll,
		Compression: kafka.Snappy, BatchTimeout: 10 * time.Millisecond,
	}
	messages := make([]kafka.Message, count)
	for number := range messages {
		messages[number].Value = []byte(fmt.Sprintf("value-%d", number))
	}
	if err := writer.WriteMessages(ctx, messages...); err != nil {
		return 0, err
	}
	if err := writer.Close(); err != nil {
		return 0, err
	}
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{bootstrap}, Topic: topic, Partition: 0})
	defer reader.Close()
	for consumed := 0; consumed < count; consumed++ {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return consumed, err
		}
		if err := check(message.Value, consumed); err != nil {
			return consumed, err
		}
	}
	return count, nil
}
