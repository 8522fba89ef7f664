"""Record batch v2: header, checksum, records, compression. No I/O."""
