-- A node leads an answer into line. KEYS: led. ARGV: stream, idle (ms)
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
