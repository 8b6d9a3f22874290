-- ARGV: 3 unused, 4 before, 5 most sessions. Ids and their places, the last changed first.
local found, before, limit = {}, ARGV[4], tonumber(ARGV[5])
while #found < limit do
    local page =
        redis.call('ZREVRANGEBYSCORE', LIST, '(' .. before, '-inf', 'WITHSCORES', 'LIMIT', 0, limit)
    for index = 1, #page, 2 do
        local due = redis.call('ZSCORE', EXPIRY, page[index])
        if #found < limit and (not due or tonumber(due) >= now) then
            found[#found + 1] = {page[index], page[index + 1]}
        end
        before = page[index + 1]
    end
    if #page < 2 * limit then
        break
    end
end
return {'ok', found}
