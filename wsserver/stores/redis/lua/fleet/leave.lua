-- A worker ends. KEYS: as for announce. ARGV: node, channel, publish.
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('INCR', KEYS[3])
ring(ARGV[2], '')
return 1
