-- ARGV: 4 most sessions, 5 owner, 6... fields and values of the session
if is_alive() then
    local found = described()
    found[1] = 'exists'
    return found
end
if redis.call('EXISTS', SESSION) == 1 or redis.call('ZSCORE', LIST, id) then
    wipe()
end
local most = tonumber(ARGV[4])
local count = redis.call('ZCARD', LIST) - redis.call('ZCOUNT', EXPIRY, '-inf', '(' .. now)
if most > 0 and count >= most then
    return {'full', most}
end
redis.call('HSET', OWNER, 'owner', ARGV[5])
for index = 6, #ARGV, 2 do
    redis.call('HSET', SESSION, ARGV[index], ARGV[index + 1])
end
redis.call('HSET', SIZES, id, 0)
touch(redis.call('HGET', SESSION, 'updated_at'))
return described()
