-- Give a user a role. Arguments: client, user, userId, role, reach, by, origin.
local client, user, user_id, role = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local reach, by, origin = ARGV[10], ARGV[11], ARGV[12]

if not has_seat(client) then
    return no('not_in_room')
end
if redis.call('SISMEMBER', BANS, user) == 1 then
    return no('is_banned')
end
if is_repeated() then
    return ok()
end
if not role_of(user) then
    return no('unknown_user')
end
if is_out_of_reach(user, reach) then
    return no('out_of_reach')
end
local is_an_owner = redis.call('SISMEMBER', OWNERS, user) == 1
if role ~= 'owner' and is_an_owner and redis.call('SCARD', OWNERS) == 1 then
    return no('needs_an_owner')
end
local member = member_of(user)
if member then
    member.role = role
    save(user, member)
end
redis.call('HSET', ROLES, user, role)
tell('ranked', origin, user, user_id, role, by)
live(LIFE)
return ok()
