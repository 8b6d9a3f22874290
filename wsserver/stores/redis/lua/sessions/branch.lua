-- ARGV: 4 last message ('': the newest), 5 most messages, 6 most bytes (0: all)
if not is_alive() then
    return {'none'}
end
use(false)
local message, limit, most = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
if message == '' then
    message = newest()
elseif redis.call('HEXISTS', TREE, message) == 0 then
    return {'no message', message}
end
local rows, size = {}, 0
while message ~= '' and #rows < limit do
    size = size + size_of(message)
    if #rows > 0 and most > 0 and size > most then
        break
    end
    rows[#rows + 1] = row(message)
    message = parent_of(message)
end
return {'ok', message ~= '' and 1 or 0, rows}
