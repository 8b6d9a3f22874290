-- A node leads a turn. KEYS: the node's turns. ARGV: lease (ms), stream, digest of its session
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
