# cmake -DOUT=file.c -DFROM=folder -DNAMES="a.sql|b.sql" -P embed.cmake: the files as C bytes.
string(REPLACE "|" ";" names "${NAMES}")
set(arrays "")
set(rows "")
set(index 0)
foreach(name IN LISTS names)
  file(READ "${FROM}/${name}" hex HEX)
  file(SHA256 "${FROM}/${name}" sum)
  file(SIZE "${FROM}/${name}" bytes)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," data "${hex}")
  string(APPEND arrays "static const unsigned char data_${index}[] = {${data}0};\n")
  string(APPEND rows "    {\"${name}\", (const char *)data_${index}, ${bytes}, \"${sum}\"},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE "${OUT}" "/* Made from sql/ by sql/embed.cmake. */
#include \"sql/files.h\"

${arrays}
static const struct sql_file files[] = {
${rows}};

const struct sql_set sql_embedded = {files, sizeof files / sizeof files[0]};
")
