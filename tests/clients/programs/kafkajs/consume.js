// Usage: node consume.js HOST:PORT TOPIC COUNT
// Reads COUNT records of a topic from its beginning in a group of its own and prints their values as a line of JSON.
const { Kafka, logLevel } = require('kafkajs')

const [bootstrap, topic, count] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'kafkajs-test', brokers: [bootstrap], logLevel: logLevel.ERROR })

async function main () {
  const consumer = kafka.consumer({ groupId: `${topic}-group` })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const values = []
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
    consumer.run({
      eachMessage: async ({ message }) => {
        values.push(message.value.toString())
        if (values.length === Number(count)) resolve()
      }
    })
  })
  await consumer.disconnect()
  console.log(JSON.stringify({ values }))
}

main().catch((error) => { console.error(error); process.exit(1) })
