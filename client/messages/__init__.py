"""Messages of any Kafka cluster: fetched raw, searched, shown, written in one lossless form, and sent.

| module | owns |
|---|---|
| ``record`` | one record, and the fast way from a batch's bytes to records |
| ``batches`` | batches as they came: their plain bytes, and which were committed |
| ``fetching`` | raw record batches of many partitions from their leaders, whoever leads |
| ``scan`` | the search: ranges, coverage, matches, the cursor to go on from |
| ``latest`` | the last match of a partition, by reading backwards |
| ``conditions`` | the language of filters: parsing, and where a filter is wrong |
| ``filters`` | filters at work on a record |
| ``needles`` | what must stand in a batch's bytes for a record of it to match, before any is decoded |
| ``glance`` | what a search that ruled batches out by their bytes still saw of them: headers, schemas |
| ``narrowing`` | only those records of a batch that may match |
| ``any_case`` | texts of which only the letters are known, not their case |
| ``numeric`` | comparisons with numbers, and numbers behind their names in bytes |
| ``formats`` | how records are printed: kcat's placeholders, lines |
| ``jsonl`` | the lossless form, one JSON object a line |
| ``hashing`` | the content hash that an export and an import are compared by |
| ``librdkafka`` | what librdkafka has to be told about a context |
| ``producing`` | sending records, through librdkafka |
| ``raw_producing`` | sending what librdkafka cannot carry |
| ``tabular`` | Arrow and Parquet |
"""
