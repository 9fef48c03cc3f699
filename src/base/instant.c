/* Moments of the wall clock as texts (RFC 3339): units.h. Dates are counted by eras
 * of 400 years that begin on 1 March, so that leap days come last. */
#include "units.h"

#include <stdio.h>

enum { ERA_DAYS = 146097, DAYS_BEFORE_1970 = 719468, DAY_SECONDS = 86400 };

struct date {
    unsigned long long year;
    unsigned month, day;
};

static struct date date_of_days(uint64_t days)
{
    uint64_t era = days / ERA_DAYS, of_era = days % ERA_DAYS;
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (unsigned)((5 * of_year + 2) / 153); /* 0 is March */
    unsigned day = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    month = month < 10 ? month + 3 : month - 9;
    return (struct date){year + era * 400 + (month <= 2), month, day};
}

static uint64_t days_of_date(struct date date)
{
    uint64_t year = date.year - (date.month <= 2), era = year / 400, of_era = year % 400;
    uint64_t month = date.month > 2 ? date.month - 3 : date.month + 9;
    return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + date.day - 1;
}

static size_t put_seconds(uint64_t seconds, char out[UNITS_TEXT_MAX])
{
    unsigned of_day = (unsigned)(seconds % DAY_SECONDS);
    struct date date = date_of_days(seconds / DAY_SECONDS + DAYS_BEFORE_1970);
    return (size_t)snprintf(out, UNITS_TEXT_MAX, "%04llu-%02u-%02uT%02u:%02u:%02u", date.year, date.month,
                            date.day, of_day / 3600, of_day / 60 % 60, of_day % 60);
}

char *instant_text(uint64_t unix_ms, char out[UNITS_TEXT_MAX])
{
    size_t length = put_seconds(unix_ms / 1000, out);
    snprintf(out + length, UNITS_TEXT_MAX - length, "Z");
    return out;
}

char *instant_text_ms(uint64_t unix_ms, char out[UNITS_TEXT_MAX])
{
    size_t length = put_seconds(unix_ms / 1000, out);
    snprintf(out + length, UNITS_TEXT_MAX - length, ".%03uZ", (unsigned)(unix_ms % 1000));
    return out;
}

/* Exactly so many digits, at most `max`; the text goes on behind them. */
static bool take_digits(struct bytes *text, size_t digits, unsigned max, unsigned *ret)
{
    unsigned n = 0;
    if (text->len < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        uint8_t c = text->data[i];
        if (c < '0' || c > '9')
            return false;
        n = n * 10 + (c - '0');
    }
    text->data += digits;
    text->len -= digits;
    *ret = n;
    return n <= max;
}

static bool take_one_of(struct bytes *text, const char *letters)
{
    if (!text->len || !strchr(letters, text->data[0]) || !text->data[0])
        return false;
    text->data++;
    text->len--;
    return true;
}

static bool take_date(struct bytes *text, struct date *ret)
{
    static const unsigned char days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year;
    if (!take_digits(text, 4, 9999, &year) || !take_one_of(text, "-") ||
        !take_digits(text, 2, 12, &ret->month) || !take_one_of(text, "-") ||
        !take_digits(text, 2, 31, &ret->day))
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    ret->year = year;
    return ret->month >= 1 && ret->day >= 1 && ret->day <= days[ret->month - 1] &&
           (leap || ret->month != 2 || ret->day <= 28);
}

static bool take_fraction(struct bytes *text, unsigned *ret_ms)
{
    unsigned digit, scale = 100;
    *ret_ms = 0;
    if (!take_one_of(text, "."))
        return true;
    if (!take_digits(text, 1, 9, &digit))
        return false;
    do {
        *ret_ms += digit * scale;
        scale /= 10;
    } while (take_digits(text, 1, 9, &digit));
    return true;
}

static bool take_offset(struct bytes *text, int *ret_minutes)
{
    unsigned hours, minutes;
    *ret_minutes = 0;
    if (take_one_of(text, "Zz"))
        return true;
    bool west = text->len && text->data[0] == '-';
    if (!take_one_of(text, "+-") || !take_digits(text, 2, 23, &hours) || !take_one_of(text, ":") ||
        !take_digits(text, 2, 59, &minutes))
        return false;
    *ret_minutes = (int)(hours * 60 + minutes) * (west ? -1 : 1);
    return true;
}

enum err instant_parse(struct bytes text, uint64_t *ret_unix_ms)
{
    struct date date;
    unsigned hour, minute, second, ms;
    int offset;
    if (!take_date(&text, &date) || !take_one_of(&text, "Tt ") || !take_digits(&text, 2, 23, &hour) ||
        !take_one_of(&text, ":") || !take_digits(&text, 2, 59, &minute) || !take_one_of(&text, ":") ||
        !take_digits(&text, 2, 60, &second) || !take_fraction(&text, &ms) || !take_offset(&text, &offset) ||
        text.len > 0)
        return ERR_MALFORMED;
    int64_t days = (int64_t)days_of_date(date) - DAYS_BEFORE_1970;
    int64_t seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second - (int64_t)offset * 60;
    if (date.year < 1969 || seconds < 0)
        return ERR_TOO_LARGE;
    *ret_unix_ms = (uint64_t)seconds * 1000 + ms;
    return OK;
}
