-- Replace settings. Arguments: client, userId, origin, then names and values as JSON; an empty
-- value removes one.
local client, by, origin = ARGV[6], ARGV[7], ARGV[8]

if not has_seat(client) then
    return no('not_in_room')
end
if is_repeated() then
    return ok()
end
local was_invited = setting('access') == '"invited"'
for index = 9, #ARGV - 4, 2 do
    local name = 's:' .. ARGV[index]
    if ARGV[index + 1] == '' then
        redis.call('HDEL', META, name)
    else
        redis.call('HSET', META, name, ARGV[index + 1])
    end
end
if setting('access') == '"invited"' and not was_invited then
    for _, user in ipairs(redis.call('ZRANGE', ORDER, 0, -1)) do
        redis.call('HSET', ROLES, user, member_of(user).role)
    end
end
tell('configured', origin, settings(), by)
live(LIFE)
return ok()
