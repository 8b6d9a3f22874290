-- ARGV: 1 channel, then streamIds
-- Returns what the order follows from: owner, counter, turn, number of those who wait; the waiting
-- jobs; and which of the streamIds nothing is known of.
local owners, unknown = {}, {}
for _, member in ipairs(redis.call('ZRANGE', LINE, 0, -1)) do
    local owner = owner_of(member)
    local row = row_of(owner)
    owners[#owners + 1] = {owner, exact(row.counter), row.turn, row.number}
end
for index = 2, #ARGV - 1 do
    if redis.call('HEXISTS', NOTES, ARGV[index]) == 0 then
        unknown[#unknown + 1] = ARGV[index]
    end
end
return {owners, redis.call('ZRANGE', WAITING, 0, -1), unknown}
