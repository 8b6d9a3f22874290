-- ARGV: 4 first number, 5 most messages, 6 most bytes (0: all)
if not is_alive() then
    return {'none'}
end
use(false)
local first, limit, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local rows, size = {}, 0
for _, message in ipairs(redis.call('LRANGE', ORDER, first, first + limit - 1)) do
    size = size + size_of(message)
    if #rows > 0 and most > 0 and size > most then
        break
    end
    rows[#rows + 1] = row(message)
end
return {'ok', first + #rows < redis.call('LLEN', ORDER) and 1 or 0, rows}
