-- Take all seats of a member away. Arguments: client, user, reach, origin.
local client, user, reach, origin = ARGV[6], ARGV[7], ARGV[8], ARGV[9]

if is_repeated() then
    return ok()
end
if not has_seat(client) then
    return no('not_in_room')
end
local member = member_of(user)
if not member then
    return no('no_member')
end
if is_out_of_reach(user, reach) then
    return no('out_of_reach')
end
redis.call('HDEL', ROLES, user)
for _, seat in ipairs(member.seats) do
    redis.call('ZADD', KICKED, place, seat[1])
end
redis.call('ZREMRANGEBYRANK', KICKED, 0, -KICKED_KEPT - 1)
born(KICKED)
remove(user, member, 'kicked', origin)
return ok()
