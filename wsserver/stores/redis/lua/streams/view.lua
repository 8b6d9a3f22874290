-- ARGV: 1 node ('': nobody's), 2 milliseconds for which it looks (0: no more), 3 the asker: '1' is
-- there, '0' is gone for good, '' nothing is said. Returns whether nobody looks any more and the
-- asker is gone.
local state = field('state')
if not state then
    return 0
end
if ARGV[1] ~= '' then
    if ARGV[2] == '0' then
        redis.call('ZREM', VIEWERS, ARGV[1])
    else
        redis.call('ZADD', VIEWERS, now_ms() + tonumber(ARGV[2]), ARGV[1])
        local ttl = redis.call('PTTL', META)
        redis.call('PEXPIRE', VIEWERS, ttl)
    end
end
if ARGV[3] == '0' then
    redis.call('HSET', META, 'asked', '0')
elseif ARGV[3] == '1' and field('asked') ~= '0' then
    believe(math.huge)
end
if state ~= 'ended' then
    keep_alive()
end
return is_orphan()
