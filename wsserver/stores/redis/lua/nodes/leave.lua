-- ARGV: 1 node. Its lease is over now; whoever reaps buries it when nothing of it is left.
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    redis.call('ZADD', KEYS[1], now_ms() - 1, ARGV[1])
end
if redis.call('GET', KEYS[2]) == ARGV[1] then
    redis.call('DEL', KEYS[2])
end
return 0
