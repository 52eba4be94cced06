/* The build id lies in a note of the program itself, the first object that the loader lists. */
#include "worker/jobs/build.h"

#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

enum { ID_BYTES_MAX = (BUILD_ID_SIZE - 1) / 2 };

static size_t padded(size_t bytes)
{
    return (bytes + 3) / 4 * 4;
}

/* Looks for the note in one segment of notes. */
static void look_in(const char *at, size_t length, char *out)
{
    while (length >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        size_t name = padded(note.n_namesz);
        size_t whole = sizeof note + name + padded(note.n_descsz);
        if (whole > length) {
            return;
        }
        const unsigned char *id = (const unsigned char *)at + sizeof note + name;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_descsz <= ID_BYTES_MAX &&
            memcmp(at + sizeof note, "GNU", 4) == 0) {
            for (size_t i = 0; i < note.n_descsz; i++) {
                (void)snprintf(out + 2 * i, 3, "%02x", id[i]);
            }
            return;
        }
        at += whole;
        length -= whole;
    }
}

static int on_object(struct dl_phdr_info *object, size_t size, void *data)
{
    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type == PT_NOTE) {
            look_in((const char *)object->dlpi_addr + segment->p_vaddr, segment->p_memsz, data);
        }
    }
    return 1; /* only the first */
}

char *build_id(char out[BUILD_ID_SIZE])
{
    out[0] = '\0';
    (void)dl_iterate_phdr(on_object, out);
    return out;
}
