#!/bin/bash
# measure.sh BINARY DIR: every rival, one after the other; drops the page cache, so it needs root.
BINARY=$1 DIR=$2
cold() { sync; echo 3 > /proc/sys/vm/drop_caches; }
for rival in ${RIVALS:-lsm fjall heed redb}; do
  data=$DIR/$rival; rm -rf "$data"
  echo "== $rival"
  "$BINARY" "$rival" "$data" load
  echo "MiB on disk: $(du -sm "$data" | cut -f1)"
  for _ in 1 2 3; do cold; "$BINARY" "$rival" "$data" open | sed 's/^/cold /'; done
  for _ in 1 2 3; do "$BINARY" "$rival" "$data" open | sed 's/^/warm /'; done
  cold; "$BINARY" "$rival" "$data" get
  "$BINARY" "$rival" "$data" scan
  "$BINARY" "$rival" "$data" checkpoint
  "$BINARY" "$rival" "$data" storm & storm=$!
  sleep 6; kill -9 $storm; wait $storm 2>/dev/null
  cold; "$BINARY" "$rival" "$data" open | sed 's/^/killed, cold /'
  rm -rf "$data"
done
