-- ARGV: 1 the request's fingerprint, 2 what it becomes, 3 for how long (ms)
-- Returns what the request becomes, what it was to become before, and what at first; 0 if it is
-- another request. A claim that is asked again, because its reply was lost, finds itself.
local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'outcome', 'free')
local is_free = not known[1] or known[3] == '1'
if not is_free and known[1] ~= ARGV[1] then
    return 0
end
if is_free then
    if known[1] == ARGV[1] then
        redis.call('HSET', KEYS[1], 'last', known[2], 'free', '')
    else
        redis.call('DEL', KEYS[1])
        redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'first', ARGV[2], 'last', ARGV[2])
    end
    redis.call('HSET', KEYS[1], 'outcome', ARGV[2])
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return redis.call('HMGET', KEYS[1], 'outcome', 'last', 'first')
