-- An answer is in line, or over. KEYS: led. ARGV: stream
redis.call('SREM', KEYS[1], ARGV[1])
