"""What lines print, for docs/cli.md: a night's work on three brokers of Apache Kafka 4.3.1, as it was printed.

Written down by hand from a run; when output changes, run the lines again.
"""

from __future__ import annotations

from typing import Final

A_BAD_NIGHT: Final = r"""## A bad night

Real output, on three brokers of Apache Kafka 4.3.1 (`prod`) and one klamm broker (`staging`). More of it, by subject:
[messages](messages.md), [lag](lag.md), [copying and dead letters](copying.md), [schemas](schemas.md),
[tracing](tracing.md).

A group is stuck, and CI or a pager knows it before anybody looks:

```console
$ klamm lag check billing --max-time 5s
lag check: 1 of 2 partitions of 1 group fail
GROUP    TOPIC   P  LAG  LAG-T  WHY
billing  orders  0    7   5.2s  5.2s > 5.0s
# exit code 3
$ klamm lag --group billing
billing   Empty   classic   0 members   lag 7   6.3s   <1%
TOPIC   P  COMMITTED  END  LAG  LAG-T  RETENTION  OWNER  NOTES
orders  0          8   15    7   6.3s  <1%        -
orders  1          5    5    0     0s  -          -
```

What is it stuck at, and is it the only one?

```console
$ klamm message get orders:0@8
orders:0@8   2026-11-27T19:55:29.261Z create
producer  2001
header    region = eu
header    trace-id = a12c
key       [text, 6 bytes]
  cust-9
value     [text, 16 bytes]
  {"id":9,"total":
$ klamm message find orders --where 'not value.id'
  P       OFFSET  TIME                     KEY                      VALUE
  0            8  2026-11-27T19:55:29.261Z cust-9                   {"id":9,"total":  {region=eu, trace-id=a12c}
orders:0  scanned 15  matched 1  complete
orders:1  scanned 5  matched 0  complete
1 match in 20 records; complete
```

The record is skipped, in its partition alone; the group's application was stopped for that:

```console
$ klamm group seek billing --topic orders -p 0 --shift-by 1 --yes
Plan: seek billing by +1 in prod
  orders:0  8 → 9  (+1)
Undo with: klamm undo 31
TOPIC   P  BEFORE  AFTER  CHANGED
orders  0       8      9  yes
```

What timed out meanwhile lies in a dead-letter topic. The same line again sends nothing twice:

```console
$ klamm dlq redrive orders.dlq --to orders --where 'h.error == timeout' --drop-header error --yes
Plan: redrive 3 records to orders in prod
  3 records → orders
  of 4 that were looked at, in partitions 0
  written between 2026-11-27 19:55:30Z and 2026-11-27 19:55:30Z
  without the headers error
  Cannot be undone: records that are written stay
What comes later is redriven by the same line; or with --from 0=4
FROM        TO      RECORDS  SENT  SENT BEFORE
orders.dlq  orders        3     3            0
$ klamm dlq redrive orders.dlq --to orders --where 'h.error == timeout' --drop-header error --yes
nothing to redrive: of 4 records none is left; 3 were sent before, and --again sends them again
FROM        TO      RECORDS  SENT  SENT BEFORE
orders.dlq  orders        0     0            3
```

And all of it goes to another cluster, to be looked at tomorrow:

```console
$ klamm topic clone orders --to-context staging --yes
Plan: clone orders into orders in staging
  2 partitions, 23 offsets
  partitions stay as they are
  orders is made, with the partitions and configs of orders
  Cannot be undone: records that are written stay
note: orders gets 1 replica, not 3: so many brokers there are
Undo with: klamm undo 32
FROM    TO      RECORDS  SENT  THERE BEFORE  VERIFIED  HASH
orders  orders       23    23             0  yes       e676b16733f9a21b580fc1064639cb5d49441ac4ffa890de4d1887b229f17916
```

A search that was ended (Ctrl-C, or SIGTERM as here) says how far it came, and how to go on:

```console
$ klamm message find big 'nothing at all' --where 'value ~ "x+y"'
big:0  scanned 86,414  matched 0  49,666 offsets left, next big:0@86,414
big:1  scanned 59,694  matched 0  77,186 offsets left, next big:1@59,694
big:2  scanned 76,868  matched 0  50,172 offsets left, next big:2@76,868
0 matches in 222,976 records; 177,024 offsets not looked at
Go on with: klamm message find big 'nothing at all' --where 'value ~ "x+y"' --from 0=86414,1=59694,2=76868 --until 0=136080,1=136880,2=127040
# exit code 143
$ klamm message find big 'nothing at all' --where 'value ~ "x+y"' --from 0=86414,1=59694,2=76868 --until 0=136080,1=136880,2=127040
big: from 86414: 0@86,414
big: from 59694: 1@59,694
big: from 76868: 2@76,868
big: until 136080: 0@136,080
big: until 136880: 1@136,880
big: until 127040: 2@127,040
big:0  scanned 49,666  matched 0  complete
big:1  scanned 77,186  matched 0  complete
big:2  scanned 50,172  matched 0  complete
0 matches in 177,024 records; complete
```
"""  # noqa: E501 (lines as they were printed)
