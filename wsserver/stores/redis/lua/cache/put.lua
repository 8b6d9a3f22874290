-- ARGV: 1 digest, 2 answer, 3 for how long (ms), 4 most answers, 5 most bytes
local now, most_bytes = now_us(), tonumber(ARGV[5])
local cost = #ARGV[2] + OVERHEAD
if cost > most_bytes or tonumber(ARGV[4]) == 0 then
    return 0
end
drop(ARGV[1])
for _, over in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', now)) do
    drop(over)
end
redis.call('HSET', ANSWERS, ARGV[1], ARGV[2])
redis.call('ZADD', USED, now, ARGV[1])
redis.call('ZADD', ENDS, now + ARGV[3] * 1000, ARGV[1])
local size = redis.call('INCRBY', SIZE, cost)
while redis.call('ZCARD', USED) > tonumber(ARGV[4]) or size > most_bytes do
    drop(redis.call('ZRANGE', USED, 0, 0)[1])
    size = tonumber(redis.call('GET', SIZE))
end
for index = 1, 4 do
    redis.call('PEXPIRE', KEYS[index], ARGV[3]) -- with the last of the answers
end
return 1
