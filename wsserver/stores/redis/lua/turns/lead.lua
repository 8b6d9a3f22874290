-- All turns that a node leads. KEYS: the node's turns. ARGV: lease (ms), then of each its stream and
-- the digest of its session
redis.call('DEL', KEYS[1])
for index = 2, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
