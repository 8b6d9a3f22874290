-- ARGV: 1 the request's fingerprint, 2 what it becomes, 3 the claim's name, 4 for how long (ms)
-- Returns what the same request became before; nothing if it is this claim's; 0 for another request.
local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'outcome', 'claim')
if not known[1] then
    redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'outcome', ARGV[2], 'claim', ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    return false
end
if known[3] == ARGV[3] then
    return false -- asked again after the reply was lost
end
if known[1] ~= ARGV[1] then
    return 0
end
return known[2]
