-- Keep a new invite. Arguments: client, token, role, its life (ms), invites at most.
local client, token, role = ARGV[6], ARGV[7], ARGV[8]
local life, most = tonumber(ARGV[9]), tonumber(ARGV[10])

if not has_seat(client) then
    return no('not_in_room')
end
local good = {}
local flat = redis.call('HGETALL', INVITES)
for index = 1, #flat, 2 do
    local invite = cjson.decode(flat[index + 1])
    if invite.expires <= NOW then
        redis.call('HDEL', INVITES, flat[index])
    elseif flat[index] ~= token then
        good[#good + 1] = {token = flat[index], number = invite.number}
    end
end
table.sort(good, function(one, other) return one.number < other.number end)
for index = 1, #good - most + 1 do
    redis.call('HDEL', INVITES, good[index].token)
end
local invite = {role = role, expires = NOW + life}
invite.number = redis.call('HINCRBY', META, 'invites', 1)
redis.call('HSET', INVITES, token, cjson.encode(invite))
live(LIFE)
return ok()
