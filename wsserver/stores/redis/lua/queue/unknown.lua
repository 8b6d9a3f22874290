-- ARGV: 1 channel, then streamIds
-- Returns, as the last thing of a list, which of them nothing is known of.
return {unknown_of(2, #ARGV - 1)}
