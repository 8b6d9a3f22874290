-- ARGV: 4 text. Whether the title or a message contains it; ASCII letters in any case.
local text = string.lower(ARGV[4])
local title = redis.call('HGET', SESSION, 'title')
if title and string.find(string.lower(title), text, 1, true) then
    return {'ok', 1}
end
for _, content in ipairs(redis.call('HVALS', CONTENTS)) do
    if string.find(string.lower(content), text, 1, true) then
        return {'ok', 1}
    end
end
return {'ok', 0}
