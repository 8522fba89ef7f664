// Usage: node round_trip.js HOST:PORT TOPIC COUNT
// Creates the topic, produces COUNT records with an idempotent producer, reads their offsets back by admin, and prints
// one line of JSON. A consumer is not among it: kafkajs consumes in groups only (see consume.js).
const { Kafka, CompressionTypes, logLevel } = require('kafkajs')

const [bootstrap, topic, count] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'kafkajs-test', brokers: [bootstrap], logLevel: logLevel.ERROR })

async function main () {
  const admin = kafka.admin()
  await admin.connect()
  const created = await admin.createTopics({ topics: [{ topic, numPartitions: 2, replicationFactor: 1 }] })
  const producer = kafka.producer({ idempotent: true })
  await producer.connect()
  const base = []
  for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
    const messages = Array.from({ length: Number(count) }, (_, number) => (
      { key: `k${number}`, value: `v${number}`, partition: 0, headers: { number: String(number) } }))
    const [report] = await producer.send({ topic, messages, acks: -1, compression })
    base.push(Number(report.baseOffset))
  }
  await producer.disconnect()
  const offsets = await admin.fetchTopicOffsets(topic)
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  await admin.disconnect()
  const high = Object.fromEntries(offsets.map(({ partition, high }) => [partition, Number(high)]))
  console.log(JSON.stringify({ created, base, high, partitions: topics[0].partitions.length }))
}

main().catch((error) => { console.error(error); process.exit(1) })
