-- What a node has in the room. Arguments: node. Returns users, clients and these' takes in
-- turn, and streams.
local node = ARGV[6]

if not EPOCH then
    return {'none'}
end
local seats, streams = {}, {}
for _, user in ipairs(redis.call('ZRANGE', ORDER, 0, -1)) do
    for _, seat in ipairs(member_of(user).seats) do
        if seat[2] == node then
            seats[#seats + 1] = user
            seats[#seats + 1] = seat[1]
            seats[#seats + 1] = whole(seat[3])
        end
    end
end
for _, ask in ipairs(open_asks()) do
    if ask.node == node then
        streams[#streams + 1] = ask.stream
    end
end
return ok(seats, streams)
