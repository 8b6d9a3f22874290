-- Keep a user out. Arguments: client, user, userId, reach, by, origin, bans at most.
local client, user, user_id, reach = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local by, origin, most = ARGV[10], ARGV[11], tonumber(ARGV[12])

if is_repeated() then
    return ok()
end
if not has_seat(client) then
    return no('not_in_room')
end
if is_out_of_reach(user, reach) then
    return no('out_of_reach')
end
if redis.call('SCARD', BANS) >= most and redis.call('SISMEMBER', BANS, user) == 0 then
    return no('too_many_bans')
end
redis.call('SADD', BANS, user)
local member = member_of(user)
if member then
    remove(user, member, 'banned', '')
end
redis.call('HDEL', ROLES, user)
tell('ranked', origin, user, user_id, '', by)
live(LIFE)
return ok()
