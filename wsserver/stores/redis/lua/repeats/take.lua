-- ARGV: 1 what the request became before, 2 what it becomes, 3 for how long (ms)
-- Returns 1 if that is what it becomes; 0 if it has become something else meanwhile.
local outcome = redis.call('HGET', KEYS[1], 'outcome')
if outcome == ARGV[2] then
    return 1 -- asked again after the reply was lost
end
if outcome ~= ARGV[1] then
    return 0
end
redis.call('HSET', KEYS[1], 'outcome', ARGV[2], 'last', ARGV[1], 'free', '')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
