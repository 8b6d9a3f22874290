-- ARGV: 1 what the request became before, 2 what it becomes, 3 the claim's name, 4 for how long (ms)
-- Returns 1 if it is this claim's; 0 if it has become something else meanwhile.
local known = redis.call('HMGET', KEYS[1], 'outcome', 'claim')
if known[2] == ARGV[3] then
    return 1 -- asked again after the reply was lost
end
if known[1] ~= ARGV[1] then
    return 0
end
redis.call('HSET', KEYS[1], 'outcome', ARGV[2], 'claim', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
